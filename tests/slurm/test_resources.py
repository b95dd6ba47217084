from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.config import ConfigError
from experiments.grid.launchers.slurm.resources import Resources, options, read


def refusal(classes: object) -> str:
    with pytest.raises(ConfigError) as told:
        read({"big": classes}, lambda key: f"grid.yaml:{len(key)}")
    return str(told.value)


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        ("90m", "90"),
        ("4h", "4:00:00"),
        ("2d", "2-0"),
        ("12:30:00", "12:30:00"),
        ("1-12", "1-12"),
        ("1-12:30", "1-12:30"),
    ],
)
def test_times(given: str, limit: str) -> None:
    assert f"--time={limit}" in list(options(read({"big": {"time": given}})["big"]))


@pytest.mark.parametrize("given", [45000, "45000", "4 h", "h", "1:2:3:4", True, None, "4h\n#SBATCH --x"])
def test_other_times_are_refused(given: object) -> None:
    assert "resources.big.time: " in refusal({"time": given})


def test_yaml_takes_an_unquoted_time_for_a_number_and_is_told_so() -> None:
    assert "in quotes" in refusal({"time": 12 * 3600})


@given(st.integers(1, 10**6), st.sampled_from(["", "a100:"]))
def test_gpus_are_counted(count: int, kind: str) -> None:
    assert read({"big": {"gpus": f"{kind}{count}"}})["big"].gpus_per_node == count
    assert read({"big": {"gpus": count}})["big"].gpus_per_node == count


def test_all_faults_at_once_with_their_places_and_the_nearest_name() -> None:
    told = refusal({"nodes": 0, "cpus": "two", "memry": "4G", "memory": "lots", "setup": [1], "modules": "cuda"})
    assert told.startswith("5 faults")
    for text in (
        "resources.big.nodes: 0 is not a whole number from 1 [grid.yaml:3]", "did you mean 'memory'?",
        "'lots' is not a number with K, M, G or T", "[1] is not a list of lines", "resources.big.cpus",
    ):  # fmt: skip
        assert text in told


def test_a_class_is_a_mapping() -> None:
    assert "4 is not a mapping" in refusal(4)


def test_an_empty_class_asks_for_nothing() -> None:
    assert list(options(Resources())) == []

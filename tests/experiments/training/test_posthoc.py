"""Snapshots, and profiles made from them, against direct averages of every step's weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import experiments
from experiments.cli.app import start
from experiments.console import Reporter
from experiments.errors import Interrupted, UserError
from experiments.execute import execute
from experiments.runs import Run, child
from experiments.stopping import Stop
from experiments.training.callbacks import AfterStep
from experiments.training.fit import fit
from experiments.training.posthoc import reconstruct
from experiments.training.power import exponent
from experiments.training.snapshots import inherit, interval, snapshots, stored
from experiments.weights import DamagedWeights, read

MakeRun = Callable[..., Run]
QUIET = Reporter("none")
PROFILED = {
    "trainer__max_steps": 120, "trainer__checkpoint_every": 30, "ema": {"profiles": [0.05, 0.10], "snapshot_every": 10},
}  # fmt: skip


class Weights(AfterStep):
    """The backbone's weights after every step."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Tensor]] = []

    def after_step(self, trainer: Any, module: Any, step: int) -> None:
        self.kept.append({name: value.detach().clone() for name, value in module.backbone.state_dict().items()})


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory, small_run: MakeRun) -> tuple[Path, list[dict[str, Tensor]]]:
    """A run of 120 steps with snapshots every 10, and all its weights."""
    run, weights = small_run(tmp_path_factory.mktemp("profiled"), **PROFILED), Weights()
    fit(run, stop=Stop(), reporter=QUIET, extra=[weights])
    assert execute(run) == 0
    return run.path, weights.kept


@pytest.fixture
def run(profiled: tuple[Path, Any], tmp_path: Path) -> Run:
    """A copy of it."""
    shutil.copytree(profiled[0], tmp_path / profiled[0].name)
    return Run(tmp_path / profiled[0].name)


def direct(kept: list[dict[str, Tensor]], sigma_rel: float, step: int) -> dict[str, Tensor]:
    """The average over all steps, float64; between the tenth steps the weights count as those of the next one."""
    gamma, tens = exponent(sigma_rel), range(10, step + 1, 10)
    shares = {n: (n / step) ** (gamma + 1) - ((n - 10) / step) ** (gamma + 1) for n in tens}
    return {name: sum(kept[n - 1][name].double() * share for n, share in shares.items()) for name in kept[0]}  # pyright: ignore[reportReturnType]


def distance(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    assert found.keys() == expected.keys()
    return max((found[name].double() - value.double()).abs().max().item() for name, value in expected.items())


def test_there_is_a_snapshot_of_each_profile_every_so_many_steps(run: Run) -> None:
    found = [(one.sigma_rel, one.step) for one in snapshots(run.path)]
    assert found == [(sigma_rel, step) for sigma_rel in (0.05, 0.10) for step in range(10, 121, 10)]


def test_a_snapshot_is_the_direct_average_in_half_precision(run: Run, profiled: tuple[Path, Any]) -> None:
    for snapshot in snapshots(run.path):
        weights = snapshot.load()
        assert all(tensor.dtype == torch.float16 for tensor in weights.values())
        assert distance(weights, direct(profiled[1], snapshot.sigma_rel, snapshot.step)) < 1e-3


@pytest.mark.parametrize("sigma_rel", [0.07, 0.12, 0.15, 0.2])
@pytest.mark.parametrize("step", [120, 80])
def test_a_profile_that_was_not_kept_is_made_close_to_the_direct_average(
    run: Run, profiled: tuple[Path, Any], sigma_rel: float, step: int
) -> None:
    made, kept = reconstruct(run, sigma_rel, step), profiled[1]
    moved = distance(kept[step - 1], kept[0])
    assert moved > 0.02
    expected = direct(kept, sigma_rel, step)
    tracked = [distance(one.load(), expected) for one in snapshots(run.path) if one.step == step]
    assert distance(made.weights, expected) < min(0.02 * moved + 5e-4, 0.3 * min(tracked))
    assert made.discrepancy < 0.1
    assert sum(made.coefficients.values()) == pytest.approx(1)
    assert all(snapshot.step <= step for snapshot in made.coefficients)


def test_a_profile_that_was_kept_is_its_own_snapshot(run: Run) -> None:
    for snapshot in snapshots(run.path)[-3:]:
        made = reconstruct(run, snapshot.sigma_rel, snapshot.step)
        assert made.coefficients[snapshot] == pytest.approx(1, abs=1e-6)
        assert distance(made.weights, snapshot.load()) < 1e-6


def test_weights_by_name_are_the_ones_that_are_meant(run: Run, profiled: tuple[Path, Any]) -> None:
    loaded, kept = experiments.load(run.path, device="cpu"), profiled[1]

    def of(name: str) -> dict[str, Tensor]:
        return {key: value.clone() for key, value in loaded.network(name).state_dict().items()}

    assert distance(of("raw"), kept[-1]) == 0
    assert distance(of("power-0.1"), direct(kept, 0.10, 120)) < 1e-5
    assert distance(of("power-0.12"), reconstruct(run, 0.12).weights) == 0
    assert distance(of("power-0.12@50"), reconstruct(run, 0.12, 50).weights) == 0
    assert distance(of("best"), read(run.path / "export" / "best.safetensors")) == 0
    assert distance(of("ema"), of("ema-0.999")) == 0 < distance(of("ema"), of("raw"))
    with pytest.raises(UserError, match=r"ema-0\.5.*power-0\.05"):
        loaded.network("ema-0.5")


def test_an_interrupted_run_has_the_snapshots_of_one_never_interrupted(
    make_run: MakeRun, profiled: tuple[Path, Any]
) -> None:
    class StopAfter(AfterStep):
        def after_step(self, trainer: Any, module: Any, step: int) -> None:
            if step == 45:
                stop.requested = True

    pieces, stop = make_run(**PROFILED), Stop()
    with pytest.raises(Interrupted):
        fit(pieces, stop=stop, reporter=QUIET, extra=[StopAfter()])
    last = profiled[0] / "ema" / "power-0.05-000000120.safetensors"
    shutil.copy(last, pieces.path / "ema" / "power-0.05-000000115.safetensors")  # of a future that is lost
    for folder in ("ema", "export"):  # half written by a process that is gone
        (pieces.path / folder / ".power-0.05-000000050.safetensors.99").touch()
    fit(pieces, stop=Stop(), reporter=QUIET)
    files = sorted(file.name for file in (profiled[0] / "ema").iterdir())
    assert files == sorted(file.name for file in (pieces.path / "ema").iterdir())
    for name in files:
        assert distance(read(pieces.path / "ema" / name), read(profiled[0] / "ema" / name)) == 0
    assert [file.name for file in (pieces.path / "export").iterdir()] == ["best.safetensors"]


def test_a_child_has_its_parents_snapshots_up_to_its_own_beginning(run: Run, tmp_path: Path) -> None:
    inherit(run.path, tmp_path / "child", 60)
    assert {one.step for one in snapshots(tmp_path / "child")} == set(range(10, 61, 10))
    from experiments.config import read as read_config
    from experiments.config import resolve

    longer = child(run, resolve(read_config(run.config_file, ["trainer.max_steps=150"])))
    assert len(snapshots(longer.path)) == len(snapshots(run.path))


def test_a_damaged_snapshot_is_told_and_passed_over(run: Run) -> None:
    file = snapshots(run.path)[5].path
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(DamagedWeights, match="checksum"):
        read(file)
    made = reconstruct(run, 0.12)
    assert len(made.coefficients) == 23
    assert file.name in made.notices[0]
    assert made.discrepancy < 0.05


@pytest.mark.parametrize(
    ("sigma_rel", "step", "told"),
    [(0.12, 55, "nearest are of 40, 50, 60"), (0.4, None, "at most 0.289"), (0, None, "above")],
)
def test_what_cannot_be_made_is_refused(run: Run, sigma_rel: float, step: int | None, told: str) -> None:
    with pytest.raises(UserError, match=told):
        reconstruct(run, sigma_rel, step)


def test_without_snapshots_it_is_said_how_to_have_them(make_run: MakeRun) -> None:
    with pytest.raises(UserError, match=r"ema\.profiles=0\.05,0\.10"):
        reconstruct(make_run(), 0.1)


def test_the_command_writes_a_file_and_names_what_can_be_evaluated(run: Run, capsys: Any) -> None:
    assert start(["ema", str(run.path), "--sigma-rel", "0.12", "--step", "80"]) == 0
    out, err = capsys.readouterr()
    file = Path(out.strip())
    assert file == run.path / "export" / "power-0.12@80.safetensors"
    assert distance(read(file), reconstruct(run, 0.12, 80).weights) == 0
    assert "16 snapshots of 0.05, 0.1 up to step 80" in " ".join(err.split())
    assert start(["evaluate", str(run.path), "--weights", "power-0.12@80", "--steps", "2", "--num", "32"]) == 0
    assert run.evaluations()[-1]["rows"][0]["weights"] == "power-0.12@80"
    assert start(["ema", str(run.path), "--sigma-rel", "0.12", "--step", "81"]) == 2


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=5))
def test_half_precision_is_used_where_it_can_hold_the_values(values: list[float]) -> None:
    (kept,) = stored({"w": torch.tensor(values)}).values()
    assert torch.isfinite(kept).all()
    assert kept.dtype == (torch.float16 if max(map(abs, values)) < 6e4 else torch.float32)
    np.testing.assert_allclose(kept.float(), torch.tensor(values), rtol=2**-10, atol=1e-7)


def test_thirty_two_snapshots_where_nothing_is_said() -> None:
    from experiments.config.schema import EMA

    assert interval(EMA(), 2000) == 63
    assert interval(EMA(snapshot_every=7), 2000) == 7
    assert interval(EMA(), 5) == 1

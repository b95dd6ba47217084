"""Other runs in a configuration: read, refused, and known by their hash and weights alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.config import ConfigError, parse, read, resolve
from experiments.config.run_weights import hash_in, hash_of
from experiments.runs import Run, child

MakeRun = Callable[..., Run]
HASH = "0123456789ab"


def resolved(**sections: Any) -> Any:
    return resolve(parse({"data": "points", "backbone": "mlp", **sections}))


@pytest.mark.parametrize(
    ("config", "hash"),
    [
        ({}, "76a3dc529d5a"),
        (
            {"objective": "shortcut", "data": "points", "backbone": "mlp", "seed": 3, "trainer": {"max_steps": 50}},
            "0ce172119b56",
        ),
        ({"objective": "rf/cosmap", "backbone": "DiT-S/2", "data": "mnist"}, "7da4c1042553"),
    ],
)
def test_runs_from_before_keep_their_hashes(config: dict[str, Any], hash: str) -> None:
    assert resolve(parse(config)).hash == hash
    assert resolve(parse({**config, "teacher": None, "start": None, "pairs": None})).hash == hash


def test_a_run_is_known_by_its_hash_and_weights_and_not_by_its_place(tmp_path: Path) -> None:
    one = resolved(start=f"runs/rf-points-{HASH}")
    assert one.identity()["start"] == {"run": HASH, "weights": "ema"}
    for same in (
        {"run": f"/elsewhere/named-{HASH}"}, {"run": f"x-{HASH}", "weights": "ema"}, {"run": HASH},
        {"run": "renamed", "hash": HASH},
    ):  # fmt: skip
        assert resolved(start=same).hash == one.hash
    for other in ({"run": f"rf-{HASH}", "weights": "raw"}, f"rf-{HASH[::-1]}", None):
        assert resolved(start=other).hash != one.hash
    assert resolved(start={"run": f"a-{HASH}", "weights": "power-0.1"}).start.weights == "power-0.10"
    assert resolve(parse(one.plain())) == one


def test_a_renamed_folder_is_known_by_what_is_in_it(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    made = run.config.hash
    assert hash_in(run.path) == hash_of(run.path) == made
    run.path.rename(tmp_path / "best one")
    assert hash_of(tmp_path / "best one") == made
    assert resolved(start=str(tmp_path / "best one")).start.hash == made


def test_a_renamed_child_is_known_by_where_it_comes_from(make_run: MakeRun, tmp_path: Path) -> None:
    from experiments.console import Reporter
    from experiments.stopping import Stop
    from experiments.training.fit import fit

    run = make_run(trainer__max_steps=2)
    fit(run, stop=Stop(), reporter=Reporter("none"))
    longer = child(run, make_run("other", trainer__max_steps=3).config)
    hash = hash_in(longer.path)
    assert hash != longer.config.hash
    longer.path.rename(tmp_path / "child")
    assert hash_of(tmp_path / "child") == hash


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["start=nowhere"], ["start", "there is no run in nowhere", "ends in no run's hash"]),
        (["start=3"], ["start", "given 3; expected the folder of a run"]),
        (["start.run=null"], ["start.run", "given null"]),
        (["start.weights=raw"], ["start", "expected the folder of a run"]),
        ([f"start=a-{HASH}", "start.weights=emma"], ["start.weights", "'ema' or 'raw'"]),
        ([f"start=a-{HASH}", "start.wieghts=raw"], ["start.wieghts", "did you mean 'weights'"]),
        ([f"start=a-{HASH}", "start.hash=12"], ["start.hash", "12 hex digits"]),
        ([f"start=a-{HASH}", "start.hash=ffffffffffff"], ["start.hash", f"ends in {HASH}"]),
        (["start.stage=teachers"], ["start.stage", "`grids` of a grid file"]),
        ([f"teacher=a-{HASH}"], ["teacher", "rf/lognorm(0.00,1.00) takes no trained network", "start=RUN"]),
        ([f"teacher=a-{HASH}", "objective=shortcut"], ["teacher", "shortcut takes no trained network"]),
    ],
)
def test_what_names_no_run_is_refused(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(read(None, overrides))
    assert len(caught.value.faults) == 1
    for word in words:
        assert word in str(caught.value)


@pytest.mark.usefixtures("taught")
@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["objective=frozen"], ["teacher: frozen learns from a trained network, and none is named", "teacher=RUN"]),
        (["objective=phased"], ["teacher: phased learns from a trained network"]),
        (
            ["objective=phased", f"teacher=a-{HASH}", "trainer.max_steps=2"],
            ["trainer.max_steps", "given 2", "3 phases"],
        ),
        (["objective=averaged", f"teacher=a-{HASH}", "ema.decays=[]"], ["ema.decays", "at least one"]),
    ],
)
def test_an_objective_that_learns_from_a_network_is_given_one(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(read(None, overrides))
    assert len(caught.value.faults) == 1
    for word in words:
        assert word in str(caught.value)


def test_a_text_over_a_mapping_is_another_run_with_the_same_weights() -> None:
    other = HASH[::-1]
    written = {"start": {"run": f"a-{HASH}", "weights": "raw", "hash": HASH}}
    assert resolve(parse(written).override({"start.weights": "ema"})).start.weights == "ema"  # pyright: ignore[reportOptionalMemberAccess]
    assert resolve(parse({"start": f"a-{other}"}).override({"start.weights": "raw"})).start.identity() == {  # pyright: ignore[reportOptionalMemberAccess]
        "run": other, "weights": "raw",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="leave the hash out"):
        resolve(parse(written).override({"start": f"b-{other}"}))

"""Pairs in a configuration: known by how they are made, refused where objective, data or flow do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.config import Config, ConfigError, parse, read, resolve
from experiments.other_runs import refuse
from experiments.pairs.folder import place
from experiments.runs import Run

MakeRun = Callable[..., Run]
HASH = "0123456789ab"
BASE: dict[str, Any] = {
    "data": "points", "backbone": "mlp", "objective": {"name": "flow_matching", "coupling": "given_pairs"},
}  # fmt: skip
ASKED = {"run": f"rf-{HASH}", "num": 64, "steps": 4}


def config(pairs: Any, **sections: Any) -> Config:
    return resolve(parse({**BASE, "pairs": pairs, **sections}))


def test_pairs_are_known_by_how_they_are_made_and_not_by_where_they_lie() -> None:
    one = config(ASKED)
    assert one.identity()["pairs"] == {
        "run": HASH, "weights": "ema", "num": 64, "steps": 4, "solver": None, "guidance": 1.0, "seed": 0,
    }  # fmt: skip
    for same in ({"run": f"/elsewhere/renamed-{HASH}"}, {"shard": 8}, {"guidance": 1}, {"seed": 0}):
        assert config({**ASKED, **same}).hash == one.hash
    others: list[dict[str, Any]] = [
        {"run": f"rf-{HASH[::-1]}"}, {"weights": "raw"}, {"num": 65}, {"steps": 5}, {"solver": "heun"}, {"seed": 1},
        {"guidance": 2},
    ]  # fmt: skip
    assert len({config({**ASKED, **other}).hash for other in others} | {one.hash}) == len(others) + 1
    assert resolve(parse(one.plain())) == one


def test_they_are_written_as_a_teacher_is() -> None:
    written = ["objective.name=flow_matching", "objective.coupling=given_pairs", "data=points", "backbone=mlp"]
    one = resolve(read(None, [*written, f"pairs=rf-{HASH}", "pairs.num=64", "pairs.steps=4"]))
    assert one.hash == config(ASKED).hash
    assert config(f"rf-{HASH}").pairs == config({"run": f"rf-{HASH}", "num": 50_000, "steps": 128}).pairs


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ({**ASKED, "num": 0}, ["pairs.num", "given 0", "≥ 1"]),
        ({**ASKED, "steps": "few"}, ["pairs.steps", "'few'"]),
        ({**ASKED, "solver": "eulr"}, ["pairs.solver", "did you mean 'euler'"]),
        ({**ASKED, "guidance": -1}, ["pairs.guidance", "given -1"]),
        ({**ASKED, "shards": 3}, ["pairs.shards", "did you mean 'shard'"]),
        ({**ASKED, "weights": "emma"}, ["pairs.weights", "'ema' or 'raw'"]),
        ({"num": 64}, ["pairs", "expected the folder of a run"]),
        ({"stage": "teachers"}, ["pairs.stage", "`grids` of a grid file"]),
        (None, ["pairs", "needs samples with their own noise, and points has none: pairs=RUN"]),
    ],
)
def test_what_is_wrong_by_itself_is_refused_with_its_place(pairs: Any, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        config(pairs)
    assert len(caught.value.faults) == 1
    for word in words:
        assert word in str(caught.value)


def test_an_objective_that_draws_its_own_noise_takes_no_pairs() -> None:
    with pytest.raises(ConfigError, match=r"pairs: rf/lognorm\(0.00,1.00\) draws its own noise, given rf-"):
        config(ASKED, objective="rf/lognorm(0,1)")


DIGITS = {"data": "digits", "backbone": {"name": "dit", "width": 16, "depth": 1, "heads": 2}}
MISMATCHES: list[tuple[str, dict[str, Any], dict[str, Any], list[str]]] = [
    ("data", {"data": {"name": "points", "size": 99}}, {}, ["these are others: its size is 99, not 4000"]),
    ("shape", DIGITS, {}, ["is a run on digits, which is no points", "its shape is (1, 8, 8), not (2,)"]),
    ("steps", {"objective": "shortcut"}, {"steps": 129}, ["pairs.steps", "1 to 128"]),
    ("solver", {}, {"solver": "euler_maruyama"}, ["pairs.solver", "adds noise of its own"]),
    ("own solver", {"objective": "consistency_training"}, {"steps": 1}, ["pairs.solver", "adds noise of its own"]),
    ("no such solver", {}, {"solver": "consistency"}, ["pairs.solver", "cannot be sampled with consistency"]),
    ("guidance", {}, {"guidance": 2}, ["pairs.guidance", "points has no condition to guide by"]),
    ("weights", {}, {"weights": "ema-0.5"}, ["pairs.weights", "kept are raw, ema-0.999"]),
]


@pytest.mark.parametrize(
    ("options", "asked", "words"), [one[1:] for one in MISMATCHES], ids=[one[0] for one in MISMATCHES]
)
def test_a_flow_that_makes_no_such_pairs_is_refused(
    make_run: MakeRun, options: dict[str, Any], asked: dict[str, Any], words: list[str]
) -> None:
    flow = make_run(**options)
    flow.mark_done(step=12, evaluations=[])
    student = make_run(objective=BASE["objective"], pairs={**ASKED, "run": str(flow.path), **asked})
    with pytest.raises(ConfigError) as caught:
        refuse(student.config, student.path)
    for word in words:
        assert word in str(caught.value)


def test_a_flow_that_is_not_trained_to_its_end_is_refused(make_run: MakeRun) -> None:
    flow = make_run()
    student = make_run(objective=BASE["objective"], pairs={**ASKED, "run": str(flow.path)})
    with pytest.raises(ConfigError, match="not trained to its end"):
        refuse(student.config, student.path)


def test_a_set_has_a_name_by_all_that_its_pairs_depend_on(make_run: MakeRun, tmp_path: Path) -> None:
    flow = make_run()

    def where(step: int | None = None, **asked: Any) -> Path:
        wanted = config({**ASKED, "run": str(flow.path), **asked}).pairs
        assert wanted is not None
        return place(flow, wanted, step=step)

    assert where().parent == flow.path / "pairs"
    assert where(step=12, solver="euler", shard=8) == where(), "its last step, its objective's own solver"
    others = [where(step=11), where(solver="heun"), where(num=65), where(steps=5), where(seed=1), where(weights="raw")]
    assert len({*others, where()}) == 7

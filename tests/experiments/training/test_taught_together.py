"""Teachers and starting weights on two processes, whole (DDP) or divided (FSDP2): the same training as on one."""

from __future__ import annotations

import importlib.metadata
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.execute import execute
from experiments.registry import entries
from experiments.runs import Run

SmallRun = Callable[..., Run]
State = Callable[[Run], dict[str, Any]]
Flat = Callable[[Any], dict[str, Any]]

INSTALL = Path(__file__).parents[1] / "taught" / "install_taught.py"
SIZE = {"data": "digits", "backbone__width": 16, "backbone__depth": 2, "backbone__heads": 2}
COMMON = {
    **SIZE, "backbone": "dit", "trainer__max_steps": 6, "trainer__log_every": 1, "trainer__precision": "64-true",
    "trainer__validate_every": 6, "trainer__checkpoint_every": 3, "optimizer__lr": 1e-2,
}  # fmt: skip
WAYS = {"one": (1, "auto"), "ddp": (2, "ddp"), "fsdp": (2, "fsdp")}
CASES: dict[str, dict[str, Any]] = {
    "frozen": {"objective": "frozen"},
    "averaged, compiled": {"objective": "averaged", "trainer__compile": True},
    "phased": {"objective": "phased"},
    "started": {"objective": "shortcut"},
}


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, small_run: SmallRun, together: Callable[..., None]
) -> Iterator[dict[str, Run]]:
    """Every case in every way, and the divided one with phases in three pieces."""
    patch = pytest.MonkeyPatch()
    root, made = tmp_path_factory.mktemp("taught together"), dict[str, Run]()
    patch.syspath_prepend(INSTALL.parent)
    points = runpy.run_path(str(INSTALL))["points"]
    patch.setattr("importlib.metadata.entry_points", points(importlib.metadata.entry_points))
    entries.cache_clear()
    larger = {**COMMON, "backbone": "u-vit", "backbone__width": 32, "seed": 7}
    teacher, first = small_run(root, **larger), small_run(root, **COMMON, seed=8)
    assert [execute(run) for run in (teacher, first)] == [0, 0]
    for way, (processes, strategy) in WAYS.items():
        jobs = []
        for case, options in CASES.items():
            key = "start" if case == "started" else "teacher"
            other = first if case == "started" else teacher
            placed = {**COMMON, **options, key: str(other.path), "trainer__strategy": strategy}
            placed |= {"trainer__devices": processes}
            made[f"{case} {way}"] = small_run(root / f"{case} {way}", **placed)
            jobs.append({"run": str(made[f"{case} {way}"].path)})
            if case == "phased" and way == "fsdp":  # phases of two steps: a stop at the end of one, and inside one
                made["pieces"] = small_run(root / "pieces", **placed)
                jobs += [{"run": str(made["pieces"].path), "stop_in": step} for step in (2, 3, 5)]
                jobs.append({"run": str(made["pieces"].path)})
        together(processes, jobs, root / f"jobs {way}.json", INSTALL)
    yield made
    patch.undo()
    entries.cache_clear()


def logged(run: Run, name: str) -> list[float]:
    return [value for _, key, value in run.metrics() if key == name]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_two_processes_are_taught_as_one_is(
    runs: dict[str, Run], case: str, way: str, state: State, flat: Flat
) -> None:
    one, two = runs[f"{case} one"], runs[f"{case} {way}"]
    assert one.config.hash == two.config.hash
    for name in ("train/loss", "train/grad_norm", *(["train/target_size"] if case != "started" else [])):
        expected = logged(one, name)
        assert len(expected) == 6
        assert len(set(expected)) > 4, "a student that has just become its teacher is without a fault, twice"
        assert logged(two, name) == pytest.approx(expected, rel=1e-9, abs=0), name
    own, its = flat(state(one)), flat(state(two))
    for part in ("/backbone/", "/emas/", "/teacher/"):
        names = [name for name in own if name.startswith(part)]
        assert bool(names) == (part != "/teacher/" or case == "phased")
        for name in names:
            if isinstance(own[name], torch.Tensor):
                torch.testing.assert_close(its[name], own[name], rtol=1e-8, atol=1e-11, msg=name)


def test_a_divided_run_that_is_stopped_keeps_its_phases_teacher(runs: dict[str, Run], state: State, flat: Flat) -> None:
    whole, pieces = flat(state(runs["phased fsdp"])), flat(state(runs["pieces"]))
    assert whole["/step"] == 6
    assert whole["/teacher/phase"] == 2
    assert whole.keys() == pieces.keys()
    for name, value in whole.items():
        assert torch.equal(value, pieces[name]) if isinstance(value, torch.Tensor) else value == pieces[name], name


def test_each_case_trains_otherwise(runs: dict[str, Run]) -> None:
    assert len({logged(runs[f"{case} one"], "train/loss")[-1] for case in CASES}) == len(CASES)

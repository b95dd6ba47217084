"""The shipped studies: each loads, plans, and cut down by ``--smoke`` runs end to end."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from experiments.grid.language import Grid, read_grid
from experiments.grid.planning import plan, prepare, survey
from experiments.grid.smoke import SETTINGS, smoke
from experiments.grid.study import Study
from experiments.grid.taking import Taker
from experiments.grid.worker import warm_up, work
from experiments.report import write_report
from experiments.stopping import Stop

GRIDS = Path(__file__).parents[3] / "experiments" / "grids"
RUNS = {
    "ablation": 18,
    "backbones": 26,
    "densities": 36,
    "ema": 32,
    "fewstep_family": 101,
    "guidance": 16,
    "learning_rate": 32,
    "quickstart": 12,
    "scaling": 30,
    "sd3_backbones": 33,
    "sd3_formulations": 122,
    "shortcut": 30,
    "shortcut_M": 21,
    "shortcut_k": 24,
    "shortcut_teacher": 24,
}
"""Every shipped grid, and its number of runs."""
TOLD = {"scaling": ("## Path length\n", "## Validation loss against compute\n")}
"""Sections of the report for which a grid is run."""


def shipped(name: str) -> Grid:
    return read_grid(GRIDS / f"{name}.yaml")


def read(folder: Path, text: str) -> Grid:
    file = folder / "some.yaml"
    file.write_text(text)
    return read_grid(file)


def test_every_shipped_grid_stands_here() -> None:
    assert sorted(RUNS) == sorted(file.stem for file in GRIDS.glob("*.yaml"))


@pytest.mark.parametrize("name", RUNS)
def test_a_shipped_grid_loads_and_plans(name: str) -> None:
    grid = shipped(name)
    assert grid.name == name
    assert len(plan(grid)) == RUNS[name]


@pytest.fixture(scope="module")
def _frozen() -> Iterator[None]:
    """As a worker does: what is imported is no garbage, and need not be walked over after each cell."""
    warm_up()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_frozen")
@pytest.mark.parametrize("name", RUNS)
def test_a_shipped_grid_runs_end_to_end_when_it_is_cut_down(name: str, tmp_path: Path) -> None:
    grid, study = shipped(name), Study(tmp_path / name)
    prepare(smoke(grid), study)
    assert work(Taker(study, launch="test", attempts=1), Stop()) == 0
    for cell, state in study.states():
        assert state.state == "done", (cell.name, state.message)
        run = study.run(cell)
        assert run.done is not None
        assert run.done["step"] == grid.smoke.get("trainer.max_steps", 2)
        (evaluation,) = run.evaluations()
        assert all(row["num"] == 8 for row in evaluation["rows"])
    report = (write_report(study.path) / "report.md").read_text()
    assert all(section in report for section in TOLD.get(name, ()))


def written(name: str) -> dict[str, set[str]]:
    """Every value of every axis in a grid's file."""
    data = yaml.safe_load((GRIDS / f"{name}.yaml").read_text())
    found: dict[str, set[str]] = {}
    for section in ("product", "one_at_a_time"):
        for key, values in (data.get(section) or {}).items():
            if isinstance(values, list):
                found[key] = {repr(value) for value in values}
    return found


@pytest.mark.parametrize("name", [name for name in RUNS if name not in ("scaling", "backbones")])
def test_smoke_keeps_every_value_of_every_axis(name: str) -> None:
    cells = plan(smoke(shipped(name)))
    for key, values in written(name).items():
        assert {repr(cell.overrides[key]) for cell in cells} >= values, key
    assert len(cells) <= max(RUNS[name] // 2, sum(map(len, written(name).values())))
    assert {cell.seed for cell in cells} == {0}


def test_what_smoke_forces_wins_over_axes_and_leaves_no_cell_twice(tmp_path: Path) -> None:
    grid = read(tmp_path, """
product:
  trainer.max_steps: [100, 200]
  backbone: [{name: mlp, width: 16}, {name: mlp, width: 32}, dit]
  evaluation.num: [64]
resources:
  long: {match: {trainer.max_steps: {">": 150}}}
smoke: {backbone.width: 24}
seeds: [3, 4]
""")  # fmt: skip
    cut = smoke(grid)
    assert cut.name == "some-smoke"
    found = survey(cut)
    assert [(one.cell.backbone, one.cell.max_steps, one.cell.seed) for one in found] == [("MLP", 2, 3), ("DiT", 2, 3)]
    assert {one.config.evaluation.num for one in found} == {SETTINGS["evaluation.num"]}
    assert {one.config.backbone.arguments["width"] for one in found} == {24}
    assert {one.cell.resources for one in found} == {"default"}


def test_stages_stay_stages(tmp_path: Path) -> None:
    grid = read(tmp_path, """
base: {data: points, backbone: mlp}
grids:
  first: {product: {objective: [rf, rf/cosmap]}}
  second: {base: {objective: shortcut}, product: {objective.k: [0.5, 0.25]}, after: {first: [data]}}
""")  # fmt: skip
    cells = plan(smoke(grid))
    first = {cell.hash for cell in cells if cell.grid == "first"}
    assert len(first) == 2
    assert all(set(cell.needs) == first for cell in cells if cell.grid == "second")


def test_stages_that_are_alike_after_the_cut_are_one_cell_that_waits_for_what_either_does(tmp_path: Path) -> None:
    grid = read(
        tmp_path,
        """
base: {data: points, backbone: mlp}
seeds: [0]
grids:
  first: {base: {optimizer.lr: 1e-3}}
  second: {base: {optimizer.lr: 2e-3}}
  short: {base: {trainer.max_steps: 10, objective: shortcut}, after: {first: [seed]}}
  long: {base: {trainer.max_steps: 20, objective: shortcut}, after: {second: [seed]}}
""",
    )
    assert len(plan(grid)) == 4
    first, second, both = plan(smoke(grid))
    assert both.needs == sorted([first.hash, second.hash])


def test_values_that_are_the_defaults_are_one_cell_of_a_cut_grid(tmp_path: Path) -> None:
    """One factor at a time comes back to the baseline by every key whose default it holds."""
    grid = read(tmp_path, "base: {objective: shortcut, data: points, backbone: mlp}\none_at_a_time:\n"
                "  objective.k: [0.25, 0.5]\n  objective.teacher: [ema, online]\n")  # fmt: skip
    assert len(plan(grid)) == len(plan(smoke(grid))) == 3


def test_a_fault_that_only_the_cut_grid_has_is_told_with_a_line(tmp_path: Path) -> None:
    grid = read(tmp_path, "product:\n  objective:\n    - rf\n    - {name: shortcut, k: 0.125}\n")
    with pytest.raises(Exception, match=r"multiples of 8.*--smoke"):
        plan(smoke(replace(grid, smoke={"trainer.batch_size": 4})))

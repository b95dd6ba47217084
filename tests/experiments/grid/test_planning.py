from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from experiments.config import ConfigError
from experiments.errors import UserError
from experiments.grid import planning, sources
from experiments.grid.language import Grid, read_grid
from experiments.grid.planning import configure, plan, plan_key, prepare, vary_base
from experiments.grid.study import Study

GRIDS = Path(__file__).parents[3] / "experiments" / "grids"
SMALL = """
name: small
base:
  data: points
  backbone: {name: mlp, width: 16}
  trainer: {max_steps: 5}
  evaluation: {metrics: [frechet_distance]}
product:
  objective: [rf, "rf/lognorm(0.00,1.00)"]
seeds: [0, 1]
"""


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    return read(tmp_path, SMALL)


def read(folder: Path, text: str) -> Grid:
    file = folder / "grid.yaml"
    file.write_text(text)
    return read_grid(file)


def test_a_plan_names_hashes_and_orders_its_cells(grid: Grid) -> None:
    cells = plan(grid)
    assert [cell.name for cell in cells] == [
        "rf seed=0", "rf/lognorm(0.00,1.00) seed=0", "rf seed=1", "rf/lognorm(0.00,1.00) seed=1",
    ]  # fmt: skip
    assert len({cell.hash for cell in cells}) == 4
    assert {(cell.data, cell.backbone, cell.max_steps) for cell in cells} == {("points", cells[0].backbone, 5)}


def test_a_worker_builds_the_very_configuration_that_was_planned(grid: Grid, tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    prepare(grid, study)
    again = Study.open(study.path)
    assert again.plan is not None
    for cell in again.cells:
        config = configure(again.plan["base"], cell.overrides)
        assert (config.hash, config.run_name) == (cell.hash, cell.run)


def test_what_is_no_part_of_the_identity_makes_no_second_run(tmp_path: Path) -> None:
    text = SMALL.replace("seeds: [0, 1]", "zip:\n  evaluation.num: [8, 16]")
    with pytest.raises(UserError, match="are the same run") as caught:
        plan(read(tmp_path, text))
    assert "evaluation.num make no difference to it" in str(caught.value)
    assert f"{tmp_path / 'grid.yaml'}:11" in str(caught.value)


def test_a_fault_of_a_cell_is_told_once_with_the_line_of_its_value(tmp_path: Path) -> None:
    text = SMALL.replace('"rf/lognorm(0.00,1.00)"]', "rff]") + "zip:\n  trainer.max_steeps: [1]\n"
    with pytest.raises(ConfigError) as caught:
        plan(read(tmp_path, text))
    told = [str(fault) for fault in caught.value.faults]
    assert len(told) == 2
    assert any("rff" in one and "grid.yaml:9" in one for one in told)
    assert any("max_steeps" in one and "did you mean 'max_steps'" in one and "grid.yaml:12" in one for one in told)


def test_a_fault_of_the_base_is_told_once_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(read(tmp_path, SMALL.replace("width: 16", "widht: 16")))
    (fault,) = caught.value.faults
    assert "grid.yaml:5" in str(fault)


def test_overrides_change_the_base_but_nothing_that_the_grid_varies(grid: Grid) -> None:
    assert {cell.max_steps for cell in plan(vary_base(grid, ["trainer.max_steps=7"]))} == {7}
    for text in ("objective=rf", "objective.k=1", "seed=3"):
        with pytest.raises(UserError, match="varies"):
            vary_base(grid, [text])


def test_a_plan_is_made_anew_only_for_another_grid_or_other_code(
    grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "code_fingerprint", lambda: "some code")
    study = Study(tmp_path / "study")
    prepare(grid, study)
    made = (study.path / "cells.json").stat().st_mtime_ns
    prepare(grid, Study(study.path))
    assert (study.path / "cells.json").stat().st_mtime_ns == made
    assert plan_key(vary_base(grid, ["trainer.clip=2"])) != plan_key(grid)
    monkeypatch.setattr(planning, "code_fingerprint", lambda: "other code")
    prepare(grid, Study(study.path))
    assert (study.path / "cells.json").stat().st_mtime_ns > made


def test_the_code_fingerprint_sees_a_changed_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_plugins").mkdir()
    source = tmp_path / "some_plugins" / "__init__.py"
    source.write_text("a = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sources, "PACKAGES", ("some_plugins",))
    before = sources.code_fingerprint()
    assert sources.code_fingerprint() == before
    source.write_text("a = 12\n")
    assert sources.code_fingerprint() != before


@pytest.mark.parametrize(("name", "runs"), [("quickstart", 12), ("ablation", 18)])
def test_shipped_grids_plan(name: str, runs: int) -> None:
    assert len(plan(read_grid(GRIDS / f"{name}.yaml"))) == runs


def test_planning_imports_no_lightning(tmp_path: Path) -> None:
    read(tmp_path, SMALL)
    code = (
        "import sys; from pathlib import Path; from experiments.grid.language import read_grid; "
        "from experiments.grid.planning import plan; "
        f"plan(read_grid(Path({str(tmp_path / 'grid.yaml')!r}))); "
        "print(*({'torch', 'lightning', 'lightning_fabric', 'pytorch_lightning', 'matplotlib'} & sys.modules.keys()))"
    )
    ended = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True)
    assert ended.stdout.split() == ["torch"]

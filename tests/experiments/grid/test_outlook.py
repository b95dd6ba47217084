from __future__ import annotations

from pathlib import Path

from experiments.grid.language import read_grid
from experiments.grid.outlook import outlook
from experiments.grid.planning import plan, prepare
from experiments.grid.study import Cell, Study

GRID = "base: {data: points, backbone: mlp, trainer: {max_steps: 4}}\nproduct: {objective: [rf, shortcut]}\n"


def cells(folder: Path, text: str, study: Study | None = None) -> list[Cell]:
    file = folder / "some.yaml"
    file.write_text(text)
    if study is not None:
        prepare(read_grid(file), study)
    return plan(read_grid(file))


def test_without_a_study_all_is_new(tmp_path: Path) -> None:
    found = outlook(cells(tmp_path, GRID), Study(tmp_path / "study"))
    assert [state for _, state, _ in found.cells] == ["new", "new"]
    assert found.gone == []


def test_done_new_changed_and_gone_are_told_apart(tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    rf, shortcut = cells(tmp_path, GRID, study)
    run = study.run(rf)
    run.path.mkdir()
    run.mark_done(step=4, evaluations=[rf.evaluation])
    assert [state for _, state, _ in outlook([rf, shortcut], study).cells] == ["done", "pending"]

    found = outlook(cells(tmp_path, GRID.replace("[rf, shortcut]", "[rf, rf/cosmap]")), study)
    assert [(cell.name, state) for cell, state, _ in found.cells] == [("rf", "done"), ("rf/cosmap", "new")]
    assert found.done == {rf.hash}
    assert [cell.name for cell in found.cancelled] == ["shortcut"]

    found = outlook(cells(tmp_path, GRID.replace("max_steps: 4", "max_steps: 5")), study)
    assert [state for _, state, _ in found.cells] == ["changed", "changed"]
    assert [(cell.name, state.state) for cell, state in found.gone] == [("rf", "done"), ("shortcut", "pending")]
    assert [cell.name for cell in found.cancelled] == ["shortcut"], "what is done is not cancelled"

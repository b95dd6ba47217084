"""Studies in stages whose cells learn from, or start with, the cells of an earlier stage."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.config import ConfigError
from experiments.evaluation.loaded import LoadedRun
from experiments.execute import execute
from experiments.grid import worker
from experiments.grid.language import Grid, read_grid
from experiments.grid.planning import configure, plan, prepare, survey, vary_base
from experiments.grid.smoke import smoke
from experiments.grid.study import Study
from experiments.grid.taking import Taker
from experiments.runs import Run
from experiments.stopping import Stop

pytestmark = pytest.mark.usefixtures("taught")

STUDY = """
name: family
base:
  data: points
  backbone: {name: mlp, width: 8, depth: 2}
  trainer: {max_steps: 9, batch_size: 16, checkpoint_every: 4, validate_every: 9, threads: 1, trackers: [csv]}
  evaluation: {steps: [2], num: 16, weights: [ema], metrics: [energy_distance]}
seeds: [0, 1]
grids:
  students:
    base: {objective: frozen, teacher.stage: teachers, start.stage: teachers}
    product: {optimizer.lr: [1e-3, 1e-2]}
    after: {teachers: [seed]}
  last:
    base: {objective: phased, teacher: {stage: students, weights: raw}}
    cells: [{optimizer.lr: 1e-2}]
    after: {students: [seed, optimizer.lr]}
  teachers:
    base: {backbone.width: 8}
"""


def read(folder: Path, text: str = STUDY) -> Grid:
    file = folder / "grid.yaml"
    file.write_text(text)
    return read_grid(file)


def test_each_cell_learns_from_the_cell_that_agrees_with_it(tmp_path: Path) -> None:
    planned = survey(read(tmp_path))
    of = {one.cell.hash: one for one in planned}
    assert [one.cell.seed for one in planned] == [0] * 4 + [1] * 4
    assert [one.cell.grid for one in planned[:4]] == ["students", "students", "last", "teachers"], "as in the file"
    for one in planned:
        if one.cell.grid == "teachers":
            assert one.config.teacher is None
            assert not one.cell.needs
            continue
        stage = "teachers" if one.cell.grid == "students" else "students"
        assert one.config.teacher is not None
        (needed,) = one.cell.needs
        other = of[needed]
        assert one.config.teacher.hash == needed
        assert one.config.teacher.run == f"../{other.cell.run}"
        assert one.config.teacher.weights == ("ema" if stage == "teachers" else "raw")
        assert (other.cell.grid, other.cell.seed) == (stage, one.cell.seed)
        if stage == "teachers":
            assert one.config.start == one.config.teacher
        else:
            assert other.config.optimizer == one.config.optimizer


def test_a_worker_builds_the_configuration_that_was_planned(tmp_path: Path) -> None:
    grid, study = read(tmp_path), Study(tmp_path / "study")
    prepare(grid, study)
    for cell in Study.open(study.path).cells:
        assert configure(study.base, cell.overrides).hash == cell.hash


def test_another_teacher_makes_another_student_and_nothing_else_does(tmp_path: Path) -> None:
    before = {cell.name: cell.hash for cell in plan(read(tmp_path))}
    wider = {
        cell.name: cell.hash
        for cell in plan(read(tmp_path, STUDY.replace("backbone.width: 8}", "optimizer.lr: 2e-3}")))
    }
    assert before.keys() == wider.keys()
    assert all(before[name] != wider[name] for name in before)
    moved = read(tmp_path, STUDY.replace("name: family", "name: moved"))
    assert {cell.name: cell.hash for cell in plan(moved)} == before


def test_a_stage_in_the_studys_base_or_beside_interpolations(tmp_path: Path) -> None:
    text = STUDY.replace("  trainer:", "  teacher: {stage: teachers}\n  trainer:").replace(
        "teacher.stage: teachers, ", ""
    )
    text = text.replace("base: {backbone.width: 8}", "base: {backbone.width: 8, teacher: null}")
    hashes = [cell.hash for cell in plan(read(tmp_path, text))]
    assert hashes == [cell.hash for cell in plan(read(tmp_path))]
    alone = STUDY.replace("max_steps: 9", "max_steps: 9, log_every: '${seed}'").replace(
        "seeds: [0, 1]", "seeds: [3, 4]"
    )
    study = Study(tmp_path / "study")
    prepare(read(tmp_path, alone), study)
    for cell in study.cells:
        config = configure(study.base, cell.overrides)
        assert (config.hash, config.trainer.log_every) == (cell.hash, cell.seed)


def test_a_teacher_is_an_axis_too(tmp_path: Path) -> None:
    text = (
        STUDY.partition("grids:")[0]
        + """
grids:
  small: {base: {backbone.width: 4}}
  large: {base: {backbone.width: 16}}
  students:
    base: {objective: frozen}
    product: {teacher: [{stage: small}, {stage: large}, {stage: large, weights: raw}]}
    after: {small: seed, large: seed}
"""
    )
    planned = [one for one in survey(read(tmp_path, text)) if one.cell.grid == "students" and one.cell.seed == 0]
    assert [one.cell.name for one in planned] == [
        "students: teacher=small seed=0",
        "students: teacher=large seed=0",
        "students: teacher=large seed=0",
    ]
    assert [one.config.teacher.weights for one in planned] == ["ema", "ema", "raw"]  # pyright: ignore[reportOptionalMemberAccess]
    assert len({one.cell.hash for one in planned}) == 3


AFTER, STAGE, OWN = "after: {teachers: [seed]}", "teacher.stage: teachers", "base: {backbone.width: 8}"
FAULTS: list[tuple[str, str, list[str]]] = [
    (
        AFTER,
        "after: {teachers: [seed, optimizer.lr]}",
        ["no cell of the grid teachers agrees in seed=0, optimizer.lr="],
    ),
    (AFTER, "after: teachers", ["2 cells of the grid teachers agree in anything (no key", "'teachers: seed=0'"]),
    (AFTER, "resources: null", ["this grid does not wait for teachers", "after: {teachers: ["]),
    (STAGE, "teacher.stage: teacherz", ["no such earlier stage 'teacherz'; did you mean 'teachers'"]),
    ("start.stage: teachers", "start.stage: students", ["no such earlier stage 'students'"]),
    ("weights: raw", "weights: emma", ["'ema' or 'raw'"]),
    ("weights: raw", "weights: ema-0.5", ["given 'ema-0.5'", "kept are raw, ema-0.999"]),
    (OWN, "base: {objective: eps/linear}", ["the cell 'teachers: seed=0' (eps/linear) cannot teach frozen"]),
    (OWN, "base: {backbone.width: 4}", ["start", "another network", "is (4,"]),
    (
        "  teachers:\n",
        "  teachers:\n    product: {ema.warmup: [true, false]}\n",
        ["2 cells of the grid teachers agree"],
    ),
]


@pytest.mark.parametrize(("old", "new", "words"), FAULTS)
def test_a_stage_that_does_not_fit_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, words: list[str]
) -> None:
    assert old in STUDY
    with pytest.raises(ConfigError) as caught:
        plan(read(tmp_path, STUDY.replace(old, new)))
    for word in (*words, "grid.yaml:15" if old == "weights: raw" else "grid.yaml:11"):
        assert word in str(caught.value)


def test_a_fault_of_a_teacher_is_told_once_and_not_as_its_students_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(read(tmp_path, STUDY.replace("base: {backbone.width: 8}", "base: {backbone.widht: 8}")))
    (fault,) = caught.value.faults
    assert "did you mean 'width'" in str(fault)


def test_a_run_that_is_no_cell_need_not_be_done_when_it_is_planned(
    tmp_path: Path, small_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = small_run(Path("elsewhere"), backbone__width=8)
    text = STUDY.partition("grids:")[0] + f"  objective: frozen\n  teacher: {other.path}\n"
    text = text.replace("seeds: [0, 1]\n", "") + "seeds: [0]\n"
    grid = read(tmp_path, text)
    (cell,) = plan(grid)
    assert cell.overrides["teacher"] == {
        "name": str(tmp_path / other.path), "weights": "ema", "hash": other.config.hash,
    }  # fmt: skip
    study = Study(tmp_path / "study")
    prepare(grid, study)
    monkeypatch.chdir("/")
    assert worker.work(Taker(study, launch="this"), Stop()) == 0
    assert study.state(cell).state == "failed"
    assert "not trained to its end" in (study.state(cell).message or "")
    shutil.rmtree(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"there is no such folder.*grid.yaml:9"):
        plan(grid)


def test_a_staged_study_from_teachers_to_the_last_students(tmp_path: Path) -> None:
    grid, study = read(tmp_path, STUDY.replace("seeds: [0, 1]", "seeds: [0]")), Study(tmp_path / "study")
    prepare(grid, study)
    assert worker.work(Taker(study, launch="this"), Stop()) == 0
    assert {state.state for _, state in study.states()} == {"done"}, [state.message for _, state in study.states()]
    ended = {cell.grid: study.run(cell).done for cell in study.cells}
    assert set(ended) == {"teachers", "students", "last"}
    shutil.move(study.path, tmp_path / "moved")
    moved = Study.open(tmp_path / "moved")
    for cell in moved.cells:
        run = moved.run(cell)
        assert run.config.hash == cell.hash
        assert execute(run) == 0
        assert LoadedRun(run).sample(2, num=4).x.isfinite().all()
    # The moved study goes on: a new cell finds its teacher there.
    more = read(tmp_path, STUDY.replace("seeds: [0, 1]", "seeds: [0]").replace("[1e-3, 1e-2]", "[1e-3, 1e-2, 3e-3]"))
    prepare(more, moved)
    assert worker.work(Taker(moved, launch="that"), Stop()) == 0
    assert len(moved.cells) == len(study.cells) + 1
    assert {state.state for _, state in moved.states()} == {"done"}


def test_students_of_a_failed_teacher_are_held_with_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid, study = read(tmp_path), Study(tmp_path / "study")
    prepare(grid, study)
    ran: list[str] = []

    def fake(study: Study, cell: Any, held: Any, stop: Stop) -> int:
        ran.append(cell.name)
        run = study.run(cell)
        run.path.mkdir(parents=True, exist_ok=True)
        if cell.grid == "teachers" and cell.seed == 0:
            run.write_status("failed", message="not finite")
            return 3
        run.mark_done(step=cell.max_steps, evaluations=[cell.evaluation])
        return 0

    monkeypatch.setattr(worker, "_execute", fake)
    monkeypatch.setattr(worker, "warm_up", lambda: 0.0)
    assert worker.work(Taker(study, launch="this"), Stop()) == 0
    states = {cell.name: state for cell, state in study.states()}
    assert all(cell.seed == 1 or cell.grid == "teachers" for cell in study.cells if cell.name in ran)
    for cell in study.cells:
        if cell.seed == 1:
            assert states[cell.name].state == "done"
        elif cell.grid == "students":
            assert states[cell.name].message == "blocked: teachers: seed=0 is failed"
            assert not states[cell.name].ready


def test_the_smoke_of_a_staged_study_keeps_each_cells_teacher(tmp_path: Path) -> None:
    grid = replace(read(tmp_path), smoke={"trainer.max_steps": 3})
    cells = plan(smoke(grid))
    assert {cell.grid for cell in cells} == {"students", "last", "teachers"}
    assert {cell.max_steps for cell in cells} == {3}
    of = {cell.hash: cell for cell in cells}
    for cell in cells:
        assert len(cell.needs) == (0 if cell.grid == "teachers" else 1)
        for hash in cell.needs:
            assert of[hash].seed == cell.seed


def test_the_smoke_leaves_out_no_teacher_that_a_student_needs(tmp_path: Path) -> None:
    text = (
        STUDY.partition("grids:")[0]
        + """
grids:
  teachers: {product: {backbone.width: [4, 8], optimizer.lr: [1e-3, 1e-2]}}
  students:
    base: {objective: frozen, teacher: {stage: teachers}}
    cells: [{backbone.width: 8, optimizer.lr: 1e-3}]
    after: {teachers: [backbone.width, optimizer.lr, seed]}
"""
    )
    cells = plan(smoke(read(tmp_path, text)))
    (student,) = [cell for cell in cells if cell.grid == "students"]
    (teacher,) = [cell for cell in cells if cell.hash in student.needs]
    assert "8" in teacher.name
    assert "0.001" in teacher.name


def test_overrides_of_a_staged_study(tmp_path: Path) -> None:
    longer = plan(vary_base(read(tmp_path), ["trainer.max_steps=12"]))
    assert {cell.max_steps for cell in longer} == {12}


def test_two_thousand_students_are_planned_quickly(tmp_path: Path) -> None:
    """Each finds its teacher among hundreds without being compared with them all."""
    text = (
        STUDY.partition("grids:")[0].replace("seeds: [0, 1]", "seeds: {range: [0, 99]}")
        + """
grids:
  teachers: {product: {backbone.width: [8, 16, 24, 32]}}
  students:
    base: {objective: frozen, teacher.stage: teachers}
    product: {backbone.width: [8, 16, 24, 32], optimizer.lr: {logrange: [1e-4, 1e-2, 5]}}
    after: {teachers: [backbone.width, seed]}
"""
    )
    began = time.process_time()
    cells = plan(read(tmp_path, text))
    took = time.process_time() - began
    assert len({cell.hash for cell in cells}) == 2400
    assert took < 4, f"{took:.1f} s"

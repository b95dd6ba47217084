"""What is submitted, in which arrays, and what is not submitted twice. SLURM is stubs that keep a queue in a file."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from experiments.claims import claim
from experiments.config import ConfigError
from experiments.errors import UserError
from experiments.grid.board import Board
from experiments.grid.launchers.slurm import arrays, commands
from experiments.grid.launchers.slurm.launcher import Slurm
from experiments.grid.launchers.slurm.submissions import read
from experiments.grid.study import Cell, Study

MakeStudy = Callable[..., Study]
PROGRAMS = {
    "sbatch": """
[ -z "$REFUSE" ] || { echo "no such account" >&2; exit 1; }
for script; do :; done
job=$(($(cat "$QUEUE/last" 2>/dev/null || echo 0) + 1)); echo $job > "$QUEUE/last"
echo "$*" > "$QUEUE/$job.asked"
range=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
comment=$(sed -n 's/^#SBATCH --comment=//p' "$script")
for index in $(seq 0 "$range"); do echo "$job|$index|$comment" >> "$QUEUE/tasks"; done
[ -z "$DIE" ] || kill -9 $PPID
echo "$job;cluster"
""",
    "squeue": 'sleep "${SLOW:-0}"; cat "$QUEUE/tasks" 2>/dev/null; true',
    "scancel": """
for task; do sed -i "/^${task%_*}|${task#*_}|/d" "$QUEUE/tasks"; echo "$task" >> "$QUEUE/cancelled"; done
""",
}


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the stubs keep their queue: ``tasks`` has a line "job|index|comment" for each."""
    bin, queue = tmp_path / "bin", tmp_path / "queue"
    bin.mkdir()
    queue.mkdir()
    for name, body in PROGRAMS.items():
        (bin / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (bin / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin}:{os.environ['PATH']}")
    monkeypatch.setenv("QUEUE", str(queue))
    return queue


def cell(name: str, *, needs: Sequence[str] = (), resources: str = "default", **overrides: Any) -> Cell:
    return Cell(
        name, digits(name), f"run-{name}", "e" * 12, "rf", "dit", "digits", 0, 10, overrides,
        needs=[digits(needed) for needed in needs], resources=resources,
    )  # fmt: skip


def digits(name: str) -> str:
    return name.encode().hex().rjust(12, "0")


@pytest.fixture
def make(tmp_path: Path) -> MakeStudy:
    def made(*cells: Cell, resources: dict[str, Any] | None = None, base: dict[str, Any] | None = None) -> Study:
        study = Study(tmp_path / "study")
        study.write_plan(list(cells), key="", base=base or {}, resources=resources or {})
        return study

    return made


def launch(study: Study, **options: Any) -> str:
    """What was said."""
    said = io.StringIO()
    with Board(Study(study.path), Console(file=said, width=1000)) as board:
        assert Slurm(**options).launch(Study(study.path), board) == 0
    return said.getvalue()


def tasks(queue: Path) -> list[str]:
    file = queue / "tasks"
    return [line.rpartition("|")[0] for line in file.read_text().splitlines()] if file.exists() else []


def finish(study: Study, done: Cell) -> None:
    run = study.run(done)
    run.path.mkdir(parents=True, exist_ok=True)
    run.mark_done(step=10, evaluations=[done.evaluation])


def states(study: Study) -> dict[str, str]:
    return {cell.name: state.state for cell, state in Study(study.path).states()}


def test_what_is_in_the_queue_or_done_is_not_submitted_again(make: MakeStudy, queue: Path) -> None:
    study = make(*(cell(name) for name in "abcd"))
    launch(study)
    assert tasks(queue) == ["1|0", "1|1", "1|2", "1|3"]
    assert set(states(study).values()) == {"queued"}
    assert "4 cells are in the queue already" in launch(study)

    finish(study, study.cells[0])
    (queue / "tasks").write_text("1|2|" + read(study)[0].comment + "\n")  # 1 and 3 have left it undone
    assert "submitted 2 cells as job 2" in launch(study)
    assert tasks(queue) == ["1|2", "2|0", "2|1"]
    assert [one.tasks for one in read(study)][-1] == [digits("b"), digits("d")]

    for one in study.cells:
        finish(study, one)
    (queue / "tasks").unlink()
    assert "nothing is left" in launch(study)
    assert read(study) == []


def test_what_somebody_works_on_is_left_to_him(make: MakeStudy, queue: Path) -> None:
    study = make(cell("a"), cell("b"))
    assert claim(study.claims(study.cells[0])) is not None
    launch(study)
    assert read(study)[0].tasks == [digits("b")]


def test_a_crash_between_submission_and_record_is_repaired(make: MakeStudy, queue: Path) -> None:
    study = make(cell("a"))
    launch(study)
    (file,) = (study.path / "submissions").glob("*.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "job": None, "state": "submitting"}))
    assert "1 cells are in the queue already" in launch(study)
    assert (read(study)[0].job, read(study)[0].state) == ("1", "submitted")


def test_a_crash_before_submission_leaves_nothing_behind(make: MakeStudy, queue: Path) -> None:
    study = make(cell("a"))
    launch(study)
    (file,) = (study.path / "submissions").glob("*.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "job": None, "state": "submitting"}))
    (queue / "tasks").unlink()
    assert "submitted 1 cells as job 2" in launch(study)
    assert json.loads(file.read_text())["state"] == "ended"


def test_a_refusal_is_told_and_nothing_is_queued(make: MakeStudy, queue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make(cell("a"))
    monkeypatch.setenv("REFUSE", "1")
    with pytest.raises(UserError, match="sbatch refused: no such account"):
        launch(study)
    assert states(study) == {"a": "pending"}


def test_a_queue_that_does_not_answer_is_no_empty_queue(
    make: MakeStudy, queue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make(cell("a"))
    launch(study)
    monkeypatch.setenv("SLOW", "5")
    monkeypatch.setattr(commands, "PATIENCE", 0.2)
    with pytest.raises(UserError, match="squeue gave no answer within"):
        launch(study)
    Slurm().refresh(study, patience=0.2)
    assert states(study) == {"a": "queued"}


def test_without_slurm_a_dry_run_shows_the_scripts(make: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    study = make(cell("a"), cell("b"))
    said = launch(study, dry_run=True)
    assert "#SBATCH --array=0-1" in said
    assert (study.path / "slurm" / "dry-run" / "default.sh").read_text() in said
    assert states(study) == {"a": "pending", "b": "pending"}
    with pytest.raises(UserError, match="there is no squeue here"):
        launch(study)


def test_an_array_for_each_class_stage_and_number_of_processes(make: MakeStudy, queue: Path) -> None:
    study = make(
        cell("teacher", resources="big"), cell("pupil", needs=["teacher"], resources="big"), cell("small"),
        cell("two", **{"trainer.devices": 2}), cell("base"), cell("grandchild", needs=["pupil", "small"]),
        resources={"big": {"gpus": "a100:4", "nodes": 2}}, base={"trainer": {"devices": 1}},
    )  # fmt: skip
    found = arrays.arrays(study, study.cells, {"big": classes_of(study)["big"]})
    assert [(one.name, one.nodes, one.devices, [c.name for c in one.cells]) for one in found] == [
        ("big", 2, 4, ["teacher"]),
        ("default-1x1", 1, 1, ["small", "base"]),
        ("default-1x2", 1, 2, ["two"]),
        ("big-stage2", 2, 4, ["pupil"]),
        ("default-stage3", 1, 1, ["grandchild"]),
    ]
    launch(study)
    asked = [(queue / f"{job}.asked").read_text().split()[1:-1] for job in range(1, 6)]
    assert asked == [[], [], [], ["--dependency=afterany:1"], ["--dependency=afterany:4:2"]]


def classes_of(study: Study) -> dict[str, Any]:
    from experiments.grid.launchers.slurm.resources import read

    return read(study.resources)


def test_a_stage_waits_for_what_was_submitted_before(make: MakeStudy, queue: Path) -> None:
    study = make(cell("teacher"))
    launch(study)
    study = make(cell("teacher"), cell("pupil", needs=["teacher"]))
    launch(study)
    assert "--dependency=afterany:1 " in (queue / "2.asked").read_text()


def test_what_needs_a_cell_that_will_not_come_is_not_submitted(make: MakeStudy, queue: Path) -> None:
    study = make(cell("teacher"), cell("pupil", needs=["teacher"]), cell("grandchild", needs=["pupil"]), cell("other"))
    held = claim(study.claims(study.cells[0]))
    assert held is not None
    held.end("failed", "the loss is not finite", reason="not finite")
    launch(study)
    assert read(study)[0].tasks == [digits("other")]


def test_a_failed_cell_that_is_submitted_again_takes_its_pupils_along(make: MakeStudy, queue: Path) -> None:
    study = make(cell("teacher"), cell("pupil", needs=["teacher"]))
    held = claim(study.claims(study.cells[0]))
    assert held is not None
    held.end("failed", "out of memory")
    launch(study)
    assert [one.tasks for one in read(study)] == [[digits("teacher")], [digits("pupil")]]


def test_long_arrays_are_cut(make: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "LONGEST", 3)
    study = make(*(cell(f"c{i}") for i in range(7)))
    found = arrays.arrays(study, study.cells, {})
    assert [len(one.cells) for one in found] == [3, 3, 1]
    assert [one.name for one in found] == ["default", "default-part2", "default-part3"]


def test_a_class_that_is_not_there_and_faults_in_one_that_is(make: MakeStudy, queue: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'big'"):
        launch(make(cell("a", resources="bgi"), resources={"big": {}}))
    with pytest.raises(ConfigError, match=r"resources\.big\.tme"):
        launch(make(cell("a"), resources={"big": {"tme": "4h"}}))
    assert tasks(queue) == []


def test_cancel_takes_the_right_tasks(make: MakeStudy, queue: Path) -> None:
    study = make(*(cell(name) for name in "abc"))
    launch(study)
    assert Slurm().cancel(study, study.cells[1:2]) == study.cells[1:2]
    assert tasks(queue) == ["1|0", "1|2"]
    assert (queue / "cancelled").read_text() == "1_1\n"
    assert states(study) == {"a": "queued", "b": "pending", "c": "queued"}
    assert Slurm().cancel(study, study.cells[1:2]) == []
    Slurm().cancel(study, study.cells)
    assert read(study) == []


def test_cancelling_what_slurm_never_had_needs_no_slurm(make: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    study = make(cell("a"))
    assert Slurm().cancel(study, study.cells) == []
    Slurm().refresh(study)


def test_two_at_a_time_do_not_submit(make: MakeStudy, queue: Path) -> None:
    study = make(cell("a"))
    held = claim(study.path / "submissions" / "lock")
    assert held is not None
    with pytest.raises(UserError, match="another process is submitting"):
        launch(study)
    held.end("done")
    launch(study)


@pytest.mark.parametrize("option", ["jobs", "attempts"])
def test_numbers_below_one_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} is 0"):
        Slurm(**{option: 0})


def test_what_a_job_was_started_with_does_not_reach_its_children(
    make: MakeStudy, queue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (queue.parent / "bin" / "sbatch").write_text('#!/usr/bin/env bash\nenv > "$QUEUE/env"; echo 1\n')
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "7")
    monkeypatch.setenv("SLURM_CONF", "/the/conf")
    launch(replace(make(cell("a"))))
    told = (queue / "env").read_text()
    assert "SLURM_CPUS_PER_TASK" not in told
    assert "SLURM_CONF=/the/conf" in told

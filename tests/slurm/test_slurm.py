"""Grids on a real SLURM of two nodes: an array, a cell on both, requeue, time limit, cancelling, a node that dies."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from experiments.claims import Claimed, history
from experiments.cli.cells import cancel_submitted
from experiments.execute import execute
from experiments.grid import orders
from experiments.grid.board import Board
from experiments.grid.launchers.slurm import submissions
from experiments.grid.launchers.slurm.launcher import Slurm
from experiments.grid.planning import configure
from experiments.grid.study import Study
from experiments.runs import Run
from experiments.training import checkpoints
from experiments.training.throughput import MACHINE

Plan = Callable[..., Study]
pytestmark = pytest.mark.usefixtures("here")

WALL_CLOCK = {f"train/{name}" for name in MACHINE}
ONE = {"product": {"objective": ["shortcut"]}}
LONG = {"max_steps": 1200}  # long enough for what is done to it on the way, on a fast machine too
ENDLESS = {"max_steps": 10**6, "checkpoint_every": 10**6}


def submit(study: Study, **options: Any) -> None:
    with Board(study, Console(stderr=True)) as board:
        assert Slurm(**options).launch(study, board) == 0


def states(study: Study) -> list[str]:
    return [state.state for _, state in Study(study.path).states()]


def claims(study: Study) -> list[Claimed]:
    """Of the first cell."""
    return history(study.claims(study.cells[0]))


def step(study: Study) -> int:
    """How far the first cell is."""
    return study.run(study.cells[0]).status.get("step", 0)


def wait(holds: Callable[[], object], what: str, study: Study, *, seconds: float = 300.0) -> None:
    """Wait until something holds; where it does not come, show what was printed."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            logs = "".join(f"== {file.name}\n{file.read_text()}" for file in sorted(study.logs.iterdir()))
            pytest.fail(f"not within {seconds:g} s: {what}; {states(study)}\n{logs}")
        time.sleep(0.2)


def job(study: Study) -> str:
    """The job of the study's only submission."""
    (one,) = (study.path / "submissions").glob("*.json")
    record = submissions._read(one)
    assert record is not None
    assert record.job is not None
    return record.job


def go_on(cluster: Any, task: str, study: Study) -> None:
    """Wait until a task that was requeued runs again; SLURM holds it back for as long as credentials live."""

    def state() -> str:
        return cluster.call("squeue", "--noheader", "--array", "--format=%T", f"--jobs={task}").strip()

    wait(lambda: state() == "PENDING", f"{task} is back in the queue", study)
    wait(lambda: state() == "RUNNING", f"{task} runs again", study)


def results(run: Run) -> dict[str, Any]:
    """Everything that must not depend on what happened on the way."""
    rows = [
        {k: v for k, v in row.items() if k != "seconds_per_image"} for one in run.evaluations() for row in one["rows"]
    ]
    metrics = [row for row in run.metrics() if row[1] not in WALL_CLOCK]
    return {"tensors": {k: v.tolist() for k, v in tensors(run).items()}, "metrics": metrics, "rows": rows}


def tensors(run: Run) -> dict[str, torch.Tensor]:
    """The training state at the end."""
    found = checkpoints.newest(run.checkpoints)
    assert found.path is not None

    def flat(value: Any, path: str) -> dict[str, torch.Tensor]:
        if isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            return {name: leaf for key, item in items for name, leaf in flat(item, f"{path}/{key}").items()}
        return {path: value} if isinstance(value, torch.Tensor) else {}

    return flat(found.state, "")


def undisturbed(study: Study, root: Path) -> Run:
    """The study's first cell, run here in one piece by one process."""
    cell = study.cells[0]
    run = Run.create(configure(study.base, cell.overrides), root)
    assert execute(run) == 0
    return run


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What an undisturbed run of LONG comes to; filled by the first test that asks."""
    return {}


def expected(study: Study, long_run: dict[str, dict[str, Any]], root: Path) -> dict[str, Any]:
    if study.cells[0].hash not in long_run:
        long_run[study.cells[0].hash] = results(undisturbed(study, root))
    return long_run[study.cells[0].hash]


def test_a_sweep_is_an_array(plan: Plan, here: Any) -> None:
    study = plan("sweep", {"product": {"objective": ["rf", "shortcut"]}, "seeds": [0, 1, 2]})
    submit(study, jobs=4)
    assert "done" not in states(study), "it did not return at once"
    assert set(states(study)) <= {"queued", "running"}
    tasks = here.call("squeue", "--noheader", "--array", "--format=%i").split()
    assert sorted(tasks) == [f"{job(study)}_{index}" for index in range(6)]

    submit(study)
    assert len(list((study.path / "submissions").glob("*.json"))) == 1, "what is in the queue was submitted again"

    wait(lambda: states(study) == ["done"] * 6, "all cells are done", study)
    for cell in study.cells:
        (only,) = history(study.claims(cell))
        assert only.outcome == "done"
        assert only.owner["job"] == f"{job(study)}_{study.cells.index(cell)}"
    Slurm().refresh(study)
    wait(lambda: not here.call("squeue", "--noheader"), "the queue is empty", study)
    submit(study)
    assert len(list((study.path / "submissions").glob("*.json"))) == 1, "what is done was submitted again"


def test_a_cell_on_two_nodes_is_the_cell_on_one(plan: Plan, here: Any, tmp_path: Path) -> None:
    two = {"default": {"nodes": 2, "cpus": 1, "setup": ["export MASTER_ADDR=127.0.0.1"]}}  # n1 and n2 have no address
    study = plan("wide", {**ONE, "resources": two})
    submit(study)
    wait(lambda: states(study) == ["done"], "the cell is done", study)
    run = study.run(study.cells[0])
    assert run.config.trainer.nodes == 2
    assert (run.path / "ranks").is_dir()
    found, whole = tensors(run), tensors(undisturbed(study, tmp_path / "one"))
    assert found.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-5, atol=1e-6, msg=lambda told, name=name: f"{name}: {told}"
        )


def test_a_requeue_in_mid_training_changes_nothing(
    plan: Plan, here: Any, tmp_path: Path, long_run: dict[str, dict[str, Any]]
) -> None:
    study = plan("requeue", ONE, LONG)
    submit(study)
    task = f"{job(study)}_0"
    wait(lambda: step(study) >= 100, "the training is well under way", study)
    here.call("scontrol", "requeue", task)
    wait(lambda: states(study) == ["preempted"], "the cell is preempted", study)
    assert 100 <= step(study) < LONG["max_steps"]
    go_on(here, task, study)
    wait(lambda: states(study) == ["done"], "the cell is done", study)
    assert [one.outcome for one in claims(study)] == ["interrupted", "done"]
    assert {one.owner["job"] for one in claims(study)} == {task}
    assert results(study.run(study.cells[0])) == expected(study, long_run, tmp_path / "whole")


def test_a_node_that_dies_costs_nothing_but_time(
    plan: Plan, here: Any, tmp_path: Path, long_run: dict[str, dict[str, Any]]
) -> None:
    study = plan("lost", ONE, LONG)
    submit(study, attempts=1)
    task = f"{job(study)}_0"
    wait(lambda: step(study) >= 100, "the training is well under way", study)
    node = here.call("squeue", "--noheader", "--format=%N", f"--jobs={task}").strip()
    here.kill(node)
    here.call("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")  # as SlurmdTimeout would find
    try:
        go_on(here, task, study)
        assert here.call("squeue", "--noheader", "--format=%N", f"--jobs={task}").strip() != node
        wait(lambda: states(study) == ["done"], "the cell is done", study)
    finally:
        here.start(node)
        here.wait()
    assert [one.outcome for one in claims(study)] == ["interrupted", "done"]
    assert claims(study)[0].owner["preempted"]
    assert results(study.run(study.cells[0])) == expected(study, long_run, tmp_path / "whole")


def test_at_the_time_limit_a_cell_goes_on_in_the_next_job(plan: Plan, here: Any) -> None:
    study = plan("limit", {**ONE, "resources": {"default": {"time": "2h", "warning": 20}}}, ENDLESS)
    submit(study)
    task = f"{job(study)}_0"
    wait(lambda: step(study) > 0, "the training is well under way", study)
    began = datetime.fromisoformat(here.call("squeue", "--noheader", "--format=%S", f"--jobs={task}").strip())
    minutes = math.ceil(((datetime.now() - began).total_seconds() + 35) / 60)
    here.call("scontrol", "update", f"JobId={task}", f"TimeLimit={minutes}")  # a limit is whole minutes, at least one
    wait(lambda: states(study) == ["preempted"], "the warning has ended the cell", study)
    before = step(study)
    (saved,) = checkpoints.steps(study.run(study.cells[0]).checkpoints)
    assert saved == before
    wait(lambda: here.call("squeue", "--noheader", "--format=%T") == "PENDING\n", "it is back in the queue", study)
    here.call("scontrol", "update", f"JobId={task}", "TimeLimit=120")
    go_on(here, task, study)
    wait(lambda: step(study) > before, "the cell goes on from there", study)
    assert [one.outcome for one in claims(study)] == ["interrupted", None]
    assert f"{before}/1000000" in study.log(study.cells[0]).read_text().split("--- ")[-1]


def test_a_cancelled_grid_leaves_the_queue(plan: Plan, here: Any) -> None:
    study = plan("cancelled", {"product": {"objective": ["rf", "shortcut"]}, "seeds": [0, 1, 2]}, ENDLESS)
    submit(study, jobs=2)

    def running() -> bool:
        steps = [study.run(cell).status["step"] for cell in study.cells[:2]]
        return states(study)[:2] == ["running"] * 2 and min(steps) > 0

    wait(running, "two cells are in training", study)

    here.call("scancel", f"{job(study)}_0")  # by hand, past us
    wait(lambda: states(study)[0] == "preempted", "the first cell is stopped", study)
    assert orders.cancel(study, study.cells[1:], "by hand") == study.cells[1:]
    cancel_submitted(study, study.cells[1:])
    wait(lambda: not here.call("squeue", "--noheader"), "neither is put back into the queue", study)
    assert states(study) == ["preempted", *["cancelled"] * 5]
    assert [history(study.claims(cell))[-1].outcome for cell in study.cells[:2]] == ["interrupted"] * 2
    for cell in study.cells[:2]:
        run = study.run(cell)
        assert checkpoints.steps(run.checkpoints) == [run.status["step"]], "what was trained is kept"
    assert not any(history(study.claims(cell)) for cell in study.cells[2:])
    Slurm().refresh(study)
    assert not submissions.read(study)

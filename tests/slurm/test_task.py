"""One cell in one job: what becomes of its claims over the job's starts, and which exit code says what."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.claims import Claim, claim, history
from experiments.errors import RunFailed
from experiments.grid import orders, worker
from experiments.grid.launchers.slurm import task
from experiments.grid.study import Cell, Study
from experiments.stopping import Stop

NAMES = "abc"


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Cells a, b and c; c needs b."""
    cells = [
        Cell(
            name, name * 12, f"run-{name}", "e" * 12, "rf", "dit", "digits", 0, 10, {}, needs=["b" * 12] * (name == "c")
        )
        for name in NAMES
    ]
    study = Study(tmp_path / "study")
    study.write_plan(cells, key="", base={})
    return study


@pytest.fixture
def run(study: Study, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """``run("a", lambda …)``: the task of a cell with a stub for its training; the exit code."""
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setattr(Stop, "install", lambda self: {})
    monkeypatch.setattr(worker, "warm_up", lambda: 0.0)

    def start(name: str, what: Callable[..., int] | None = None, *options: str) -> int:
        monkeypatch.setattr(worker, "_execute", what or done)
        return task.main([str(study.path), name * 12, "--launch", "L", "--attempts", "2", *options])

    return start


def done(study: Study, cell: Cell, held: Claim, stop: Stop) -> int:
    study.run(cell).path.mkdir(parents=True, exist_ok=True)
    study.run(cell).mark_done(step=cell.max_steps, evaluations=[cell.evaluation])
    return 0


def raising(error: Exception) -> Callable[..., int]:
    def what(*_: Any) -> int:
        raise error

    return what


def outcomes(study: Study, name: str = "a") -> list[str | None]:
    return [one.outcome for one in history(study.path / "claims" / (name * 12))]


def left_open(study: Study, **owner: Any) -> None:
    """A claim on a whose owner wrote no outcome, on another machine."""
    held = claim(study.path / "claims" / ("a" * 12), launch="L", **owner)
    assert held is not None
    held.file.write_text(json.dumps({**held.owner, "machine": "node7 boot pids"}))


def test_a_cell_is_done_and_stays_done(study: Study, run: Callable[..., int]) -> None:
    assert run("a") == 0
    assert run("a", raising(AssertionError())) == 0
    (only,) = history(study.path / "claims" / ("a" * 12))
    assert (only.outcome, only.owner["job"], only.owner["launch"]) == ("done", "12_3", "L")


def test_nodes_and_devices_are_the_jobs(study: Study, run: Callable[..., int]) -> None:
    seen = []
    run("a", lambda study, cell, held, stop: seen.append(cell.overrides) or 0, "--nodes", "2", "--devices", "4")
    assert seen == [{"trainer.nodes": 2, "trainer.devices": 4}]


def test_a_stop_is_to_be_continued(study: Study, run: Callable[..., int]) -> None:
    assert run("a", lambda *_: 75) == 75
    assert run("a") == 0
    assert outcomes(study) == ["interrupted", "done"]


def test_a_failure_for_good_and_one_that_is_tried_again(study: Study, run: Callable[..., int]) -> None:
    assert run("a", raising(RunFailed("not finite", "not finite"))) == 3
    assert run("b", raising(ZeroDivisionError("a fault of ours"))) == task.DIED
    assert run("b", None, "--died", "1") == 0
    assert run("b", raising(ZeroDivisionError("a fault of ours"))) == 3, "both attempts are used up"
    assert run("b", None, "--died", "1") == 3


def test_the_claim_of_its_former_self_is_taken_over_at_once_and_is_no_failure(
    study: Study, run: Callable[..., int]
) -> None:
    for _ in range(5):
        left_open(study, job="12_3")  # the node went down, five times
        began = time.monotonic()
        assert run("a", lambda *_: 75) == 75
        assert time.monotonic() - began < 30, "it would be stale after 60 s"
    assert outcomes(study) == ["interrupted"] * 10
    assert history(study.path / "claims" / ("a" * 12))[0].owner["preempted"]


def test_a_cell_in_other_hands_is_left_there(
    study: Study, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    left_open(study, job="13_0")
    file = study.path / "claims" / ("a" * 12) / "000001.json"
    monkeypatch.setattr(worker, "WAIT_EVERY", 0.05)
    os.utime(file, (time.time() - 10, time.time() - 10))
    real = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: (real(seconds), os.utime(file)))  # its owner is alive
    assert run("a", raising(AssertionError())) == 0
    assert outcomes(study) == [None]


def test_deaths_are_counted(study: Study, run: Callable[..., int]) -> None:
    left_open(study, job="12_3")
    assert run("a", None, "--died", "137") == 0
    assert study.state(study.cells[0]).message == "the worker died (exit code 137)"
    left_open(study, job="12_3")
    assert run("a", None, "--died", "137") == 3
    assert outcomes(study) == ["died", "died"]


def test_another_jobs_claim_is_not_buried(study: Study, run: Callable[..., int]) -> None:
    left_open(study, job="13_0")
    assert run("a", None, "--died", "137") == 0
    assert outcomes(study) == [None]


def test_a_cancelled_cell_ends_without_a_word_of_requeue(study: Study, run: Callable[..., int]) -> None:
    def cancelled_meanwhile(study: Study, cell: Cell, held: Claim, stop: Stop) -> int:
        orders.cancel(study, [study.cells[0]], "by hand")
        return 75

    assert run("a", cancelled_meanwhile) == 0
    assert run("a", raising(AssertionError())) == 0
    assert run("a", None, "--died", "137") == 3


def test_what_a_cell_needs(study: Study, run: Callable[..., int]) -> None:
    assert run("c", raising(AssertionError())) == 3, "nobody works on it"
    held = claim(study.path / "claims" / ("b" * 12))
    assert held is not None
    assert run("c", raising(AssertionError())) == 75, "somebody does"
    held.end("failed", "no", final=True)
    assert run("c", raising(AssertionError())) == 3, "it failed"
    assert outcomes(study, "c") == []
    assert run("b") == 0
    assert run("c") == 0


def test_a_cell_that_is_not_planned_any_more(study: Study, run: Callable[..., int]) -> None:
    with pytest.raises(task.UserError, match="the grid was planned anew"):
        run("d")

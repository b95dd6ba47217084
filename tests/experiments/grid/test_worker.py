from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.claims import STALE_AFTER, Claim, Heartbeat, claim, history
from experiments.errors import RunFailed
from experiments.grid import worker
from experiments.grid.study import Cell, Study
from experiments.grid.taking import Taker
from experiments.stopping import Stop

MakeStudy = Callable[..., Study]
STUB = Path(__file__).with_name("stub_worker.py")


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Cells end at once, as their override ``stub`` says; returns their names in the order of execution."""
    names: list[str] = []

    def execute(study: Study, cell: Cell, held: Claim, stop: Stop) -> int:
        names.append(cell.name)
        behaviour = cell.overrides.get("stub")
        if behaviour == "raise" or (behaviour == "raise once" and names.count(cell.name) == 1):
            raise ZeroDivisionError("a fault")
        if behaviour == "fail":
            raise RunFailed("not finite")
        if behaviour == "stop":
            stop.requested = True
            return 75
        study.run(cell).path.mkdir(parents=True, exist_ok=True)
        study.run(cell).mark_done(evaluations=[cell.evaluation])
        return 0

    monkeypatch.setattr(worker, "_execute", execute)
    monkeypatch.setattr(worker, "warm_up", lambda: 0.0)
    return names


def work(study: Study, attempts: int = 2) -> int:
    return worker.work(Taker(study, launch="this", attempts=attempts), Stop())


def test_every_cell_is_run_once_in_the_order_of_the_plan(make_study: MakeStudy, executed: list[str]) -> None:
    study = make_study(a={}, b={}, c={})
    assert work(study) == 0
    assert work(study) == 0
    assert executed == ["a", "b", "c"]


def test_failures_are_retried_after_all_else_and_up_to_the_cap(make_study: MakeStudy, executed: list[str]) -> None:
    study = make_study(a={"stub": "raise"}, b={"stub": "fail"}, c={"stub": "raise once"}, d={})
    assert work(study, attempts=3) == 0
    assert executed == ["a", "b", "c", "d", "a", "a", "c"]
    found = {cell.name: state for cell, state in study.states()}
    assert {name: state.state for name, state in found.items()} == {
        "a": "failed",
        "b": "failed",
        "c": "done",
        "d": "done",
    }
    assert found["a"].message == "ZeroDivisionError: a fault"


def test_a_stop_ends_the_worker_and_leaves_the_rest(make_study: MakeStudy, executed: list[str]) -> None:
    study = make_study(a={}, b={"stub": "stop"}, c={})
    assert work(study) == 75
    assert [state.state for _, state in study.states()] == ["done", "interrupted", "pending"]


def test_cells_in_other_hands_are_left_alone(make_study: MakeStudy, executed: list[str]) -> None:
    study = make_study(a={}, b={})
    assert claim(study.claims(study.cells[0])) is not None
    assert work(study) == 0
    assert executed == ["b"]


def work_on(study: Study, name: str, **options: Any) -> int:
    (cell,) = [cell for cell in study.cells if cell.name == name]
    return worker.work_on(Taker(Study(study.path), launch="this", **options), cell, Stop())


def test_one_cell_is_run_and_no_other(make_study: MakeStudy, executed: list[str]) -> None:
    study = make_study(a={}, b={}, c={"stub": "fail"}, d={"stub": "stop"})
    assert [work_on(study, name) for name in "bbcd"] == [0, 0, 3, 75]
    assert executed == ["b", "c", "d"]


def test_one_cell_is_not_run_before_what_it_needs(make_study: MakeStudy, executed: list[str]) -> None:
    study = make_study(a={}, b={"needs": ["a"]})
    assert [work_on(study, name) for name in "bab"] == [worker.WAITS, 0, 0]
    assert executed == ["a", "b"]


def test_one_cell_in_living_hands_is_left_and_in_silent_ones_taken_over(
    make_study: MakeStudy, executed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "WAIT_EVERY", 0.05)
    study = make_study(a={}, b={})
    elsewhere = {"machine": "elsewhere", "stale_after": 1.0}
    alive = claim(study.claims(study.cells[0]), **elsewhere)
    assert alive is not None
    with Heartbeat(alive, every=0.02):
        assert work_on(study, "a") == 0
    assert executed == []
    assert claim(study.claims(study.cells[1]), **elsewhere) is not None
    assert work_on(study, "b") == 0
    assert executed == ["b"]


def test_a_job_that_is_started_anew_waits_for_nobody(make_study: MakeStudy, executed: list[str]) -> None:
    study = make_study(a={})
    assert claim(study.claims(study.cells[0]), job="17_3", machine="elsewhere") is not None
    assert work_on(study, "a", job="17_3") == 0
    assert executed == ["a"]


@pytest.mark.parametrize(
    ("number", "job", "expected"),
    [(signal.SIGUSR2, None, True), (signal.SIGTERM, "17", True), (signal.SIGTERM, None, False), (None, "17", False)],
)
def test_who_stops_a_cell_decides_whether_it_was_preempted(
    monkeypatch: pytest.MonkeyPatch, number: int | None, job: str | None, expected: bool
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    if job is not None:
        monkeypatch.setenv("SLURM_JOB_ID", job)
    stop = Stop()
    stop.signal = number
    assert worker._preempted(stop) == expected


def test_a_plan_of_other_code_is_refused(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        hash = "0" * 12

    monkeypatch.setattr(worker, "warm_up", lambda: 0.0)
    monkeypatch.setattr("experiments.grid.planning.configure", lambda base, overrides: Other())
    study = make_study(a={})
    assert work(study) == 0
    assert "has changed since the plan" in str(study.state(study.cells[0]).message)


PRINTING = """
import os, sys
from pathlib import Path
from experiments.grid.worker import printing_to
with printing_to(Path(sys.argv[1])):
    print("from Python")
    os.system("echo from a child")
print("afterwards")
"""


def test_what_a_cell_prints_goes_to_its_log_its_children_included(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "cell.log"
    ended = subprocess.run([sys.executable, "-c", PRINTING, str(file)], check=True, capture_output=True, text=True)
    assert sorted(file.read_text().splitlines()) == ["from Python", "from a child"]
    assert ended.stdout == "afterwards\n"


def test_a_paused_worker_that_was_taken_over_ends_with_75_and_writes_nothing(make_study: MakeStudy) -> None:
    study = make_study(a={"max_steps": 200})
    (cell,) = study.cells
    command = [sys.executable, "-P", str(STUB), str(study.path)]
    first = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        _until(lambda: study.run(cell).status["step"] > 3)
        first.send_signal(signal.SIGSTOP)
        then = time.time() - STALE_AFTER - 1
        os.utime(study.claims(cell) / "000001.json", (then, then))
        taken = claim(study.claims(cell))
        assert taken is not None
        assert taken.number == 2
        before = {file: file.read_bytes() for file in study.run(cell).path.rglob("*") if file.is_file()}
        first.send_signal(signal.SIGCONT)
        assert first.wait(timeout=20) == 75
        assert {file: file.read_bytes() for file in study.run(cell).path.rglob("*") if file.is_file()} == before
        assert [c.outcome for c in history(study.claims(cell))] == [None, None]
    finally:
        first.kill()
        first.wait()


def test_a_worker_stops_when_its_launcher_is_gone(make_study: MakeStudy) -> None:
    study = make_study(a={"max_steps": 500})
    (cell,) = study.cells
    launcher = (
        "import subprocess, sys, time; "
        f"subprocess.Popen([sys.executable, '-P', {str(STUB)!r}, {str(study.path)!r}]); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", launcher], env={**os.environ, "OMP_NUM_THREADS": "1"})
    _until(lambda: study.run(cell).status["step"] > 3)
    parent.kill()
    parent.wait()
    _until(lambda: study.state(cell).state == "interrupted")
    assert history(study.claims(cell))[-1].outcome == "interrupted"


def _until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)

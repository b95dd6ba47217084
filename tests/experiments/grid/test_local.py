from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from experiments.claims import history
from experiments.errors import RunFailed
from experiments.grid.board import Board
from experiments.grid.launchers import local
from experiments.grid.launchers.local import Local
from experiments.grid.orders import cancel, retry
from experiments.grid.study import Study

MakeStudy = Callable[..., Study]
STUB = Path(__file__).with_name("stub_worker.py")
pytestmark = pytest.mark.usefixtures("stub_workers")


def launch(study: Study, **options: Any) -> tuple[int, str]:
    """The exit code and everything that was said."""
    said = io.StringIO()
    with Board(study, Console(file=said)) as board:
        return Local(**options).launch(study, board), said.getvalue()


def trace(study: Study) -> list[list[str]]:
    return [line.split() for line in (study.path / "trace").read_text().splitlines()]


def test_two_workers_share_the_cells_and_each_takes_several(make_study: MakeStudy) -> None:
    study = make_study(**{name: {} for name in "abcdef"})
    code, said = launch(study, jobs=2, threads=3)
    assert code == 0
    assert all(state.state == "done" for _, state in Study(study.path).states())
    rows = trace(study)
    assert sorted(row[0] for row in rows) == list("abcdef")
    assert len({row[2] for row in rows}) == 2
    assert {row[3] for row in rows} == {"3"}
    assert "[6/6 done]" in said
    assert "this is a" in study.log(study.cells[0]).read_text()


def test_a_finished_study_starts_no_worker(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(a={}, b={})
    assert launch(study, jobs=1)[0] == 0
    monkeypatch.setattr(local, "WORKER", ("/no/such/program",))
    assert launch(Study(study.path), jobs=1)[0] == 0
    assert len(trace(study)) == 2


def test_a_worker_that_dies_costs_its_cell_one_attempt(make_study: MakeStudy) -> None:
    study = make_study(a={"stub": "die once"}, b={})
    code, said = launch(study, jobs=1)
    assert code == 0
    assert "the worker died (SIGKILL): a" in said
    assert [c.outcome for c in history(study.claims(study.cells[0]))] == ["died", "done"]


def test_other_cells_go_on_when_one_fails_for_good(make_study: MakeStudy) -> None:
    study = make_study(a={"stub": "die"}, b={"stub": "fail"}, c={"stub": "raise"}, d={})
    code, said = launch(study, jobs=2, attempts=2)
    assert code == RunFailed.exit_code
    assert {cell.name: state.state for cell, state in study.states()} == {
        "a": "failed", "b": "failed", "c": "failed", "d": "done",
    }  # fmt: skip
    assert Counter(row[0] for row in trace(study)) == {"a": 2, "b": 1, "c": 2, "d": 1}
    assert "the loss is not finite" in said
    assert "ZeroDivisionError" in study.log(study.cells[2]).read_text()


def test_a_stop_is_passed_on_and_the_next_launch_goes_on_where_it_was(make_study: MakeStudy) -> None:
    study = make_study(a={"max_steps": 150}, b={"max_steps": 150}, c={})

    def press_ctrl_c() -> None:
        while min(study.run(cell).status["step"] for cell in study.cells[:2]) < 5:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press_ctrl_c)
    presser.start()
    code, said = launch(study, jobs=2)
    presser.join()
    assert code == 75
    assert "stopping" in said
    steps = [study.run(cell).status["step"] for cell in study.cells[:2]]
    assert all(5 <= step < 150 for step in steps)
    assert [state.state for _, state in study.states()] == ["interrupted", "interrupted", "pending"]
    assert launch(study, jobs=2)[0] == 0
    assert [c.outcome for c in history(study.claims(study.cells[0]))] == ["interrupted", "done"]


def test_a_second_stop_kills(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(a={})
    deaf = study.path / "deaf"
    code = f"""if True:
        import pathlib, signal, time
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_IGN)
        pathlib.Path({str(deaf)!r}).touch()
        time.sleep(60)"""
    monkeypatch.setattr(local, "WORKER", (sys.executable, "-c", code))

    def press_twice() -> None:
        while not deaf.exists():
            time.sleep(0.02)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)

    presser = threading.Thread(target=press_twice)
    presser.start()
    began = time.monotonic()
    assert launch(study, jobs=1)[0] == 75
    assert time.monotonic() - began < 50
    presser.join()


def test_workers_that_die_before_they_have_a_cell_end_the_launch(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "WORKER", (sys.executable, "-c", "raise SystemExit(1)"))
    with pytest.raises(RunFailed, match="before they had a cell"):
        launch(make_study(a={}), jobs=1)


def test_fail_fast_ends_with_the_first_cell_that_fails_and_interrupts_the_others(make_study: MakeStudy) -> None:
    study = make_study(a={"stub": "fail", "max_steps": 20}, b={"max_steps": 3000}, c={"max_steps": 3000})
    code, said = launch(study, jobs=2, fail_fast=True)
    assert code == RunFailed.exit_code
    assert "a failed: no other cell is begun" in said
    assert [state.state for _, state in study.states()][:2] == ["failed", "interrupted"]
    assert study.state(study.cells[2]).state in ("interrupted", "pending")


def test_a_cell_waits_for_what_it_needs_and_its_worker_waits_with_it(make_study: MakeStudy) -> None:
    study = make_study(student={"needs": ["teacher"]}, teacher={"max_steps": 30}, other={})
    assert launch(study, jobs=2)[0] == 0
    rows = trace(study)
    assert [row[0] for row in rows][-1] == "student"
    assert len({row[2] for row in rows}) == 2, "no worker was started for it"


def test_what_needs_a_failed_cell_is_not_run_and_the_launch_ends(make_study: MakeStudy) -> None:
    study = make_study(teacher={"stub": "fail"}, student={"needs": ["teacher"]}, next={"needs": ["student"]})
    assert launch(study, jobs=2)[0] == RunFailed.exit_code
    assert {row[0] for row in trace(study)} == {"teacher"}


def test_what_was_not_finite_is_left_alone_by_the_next_launch_until_a_retry(make_study: MakeStudy) -> None:
    study = make_study(a={"stub": "not finite once"}, b={})
    assert launch(study, jobs=1)[0] == RunFailed.exit_code
    assert launch(study, jobs=1)[0] == RunFailed.exit_code
    assert Counter(row[0] for row in trace(study)) == {"a": 1, "b": 1}
    assert len(retry(study, study.cells)) == 1
    assert launch(study, jobs=1)[0] == 0


def test_cancelled_cells_do_not_keep_a_launch_from_ending_well(make_study: MakeStudy) -> None:
    study = make_study(a={}, b={})
    cancel(study, study.cells[:1], "by hand")
    assert launch(study, jobs=1)[0] == 0
    assert [row[0] for row in trace(study)] == ["b"]


def test_workers_share_out_the_devices(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    study = make_study(**{name: {"max_steps": 30} for name in "abcdefgh"})
    assert launch(study, per_device=2, threads=1)[0] == 0
    seen = {row[2]: row[4] for row in trace(study)}
    assert Counter(seen.values()) == {"3": 2, "5": 2}


@pytest.mark.parametrize(
    ("visible", "base", "expected"),
    [
        ("0,1,2,3", {}, ["0", "1", "2", "3"]),
        ("0,1,2,3", {"trainer": {"devices": 2}}, ["0,1", "2,3"]),
        ("0,1,2", {"trainer": {"devices": 2}}, ["0,1"]),
        ("0,1", {"trainer": {"accelerator": "cpu"}}, []),
        ("", {}, []),
    ],
)
def test_a_worker_sees_as_many_devices_as_its_cells_ask_for(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch, visible: str, base: dict[str, Any], expected: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    study = make_study(a={})
    study.write_plan(study.cells, key="", base=base)
    crew = local._Crew(Local(), study, Board(study, Console(file=io.StringIO())))
    assert crew.groups == expected
    assert crew.jobs == (len(expected) or local._cores())


RUNNER = """
import io, sys
from pathlib import Path
from rich.console import Console
from experiments.grid.board import Board
from experiments.grid.launchers import local
from experiments.grid.study import Study
local.WORKER, local.POLL_EVERY = (sys.executable, "-P", sys.argv[2]), 0.05
study = Study.open(Path(sys.argv[1]))
with Board(study, Console(file=io.StringIO())) as board:
    sys.exit(local.Local(jobs=2).launch(study, board))
"""


def runner(study: Study) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-P", "-c", RUNNER, str(study.path), str(STUB)])


def test_two_launches_of_one_study_run_every_cell_once(make_study: MakeStudy) -> None:
    study = make_study(**{f"c{n}": {} for n in range(12)})
    both = [runner(study), runner(study)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    rows = trace(study)
    assert Counter(row[0] for row in rows) == {cell.name: 1 for cell in study.cells}
    assert all([one.outcome for one in history(study.claims(cell))] == ["done"] for cell in study.cells)


def test_a_launcher_that_is_killed_loses_nothing(make_study: MakeStudy) -> None:
    study = make_study(a={"max_steps": 200}, b={"max_steps": 200}, c={})
    killed = runner(study)
    while min(study.run(cell).status["step"] for cell in study.cells[:2]) < 10:
        assert killed.poll() is None
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    before = [study.run(cell).status["step"] for cell in study.cells]
    assert launch(study, jobs=2)[0] == 0
    assert [state.state for _, state in study.states()] == ["done"] * 3
    for cell, step in zip(study.cells[:2], before, strict=False):
        outcomes = [one.outcome for one in history(study.claims(cell))]
        assert outcomes == ["interrupted", "done"], "its workers missed it, and stopped in good order"
        assert study.run(cell).status["first"] >= step, "nothing was done twice"


@pytest.mark.parametrize("option", ["jobs", "threads", "attempts", "per_device"])
def test_numbers_below_one_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} is 0"):
        Local(**{option: 0})

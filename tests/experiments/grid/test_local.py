from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from experiments.errors import RunFailed
from experiments.grid.board import Board
from experiments.grid.claims import history
from experiments.grid.launchers import local
from experiments.grid.launchers.local import Local
from experiments.grid.study import Study

MakeStudy = Callable[..., Study]
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
    deaf = "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; time.sleep(60)"
    monkeypatch.setattr(local, "WORKER", (sys.executable, "-c", deaf))
    study = make_study(a={})

    def press_twice() -> None:
        for _ in range(2):
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press_twice).start()
    began = time.monotonic()
    assert launch(study, jobs=1)[0] == 75
    assert time.monotonic() - began < 20


def test_workers_that_die_before_they_have_a_cell_end_the_launch(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "WORKER", (sys.executable, "-c", "raise SystemExit(1)"))
    with pytest.raises(RunFailed, match="before they had a cell"):
        launch(make_study(a={}), jobs=1)


@pytest.mark.parametrize("option", ["jobs", "threads", "attempts"])
def test_numbers_below_one_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} is 0"):
        Local(**{option: 0})

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from experiments.grid.board import Board, duration, seconds_left, table
from experiments.grid.states import CellState
from experiments.grid.study import Study

MakeStudy = Callable[..., Study]


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.4, "0 s"), (59.4, "59 s"), (725, "12 min 05 s"), (11225, "3 h 07 min")]
)
def test_duration(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_the_time_left_counts_open_steps_at_the_rate_of_all_workers(make_study: MakeStudy) -> None:
    a, b, c = make_study(a={"max_steps": 100}, b={"max_steps": 100}, c={"max_steps": 100}).cells
    running, pending = CellState("running", step=40, rate=6.0), CellState("pending")
    assert seconds_left([(a, CellState("done", step=100)), (b, running), (c, pending)]) == 160 / 6.0
    assert seconds_left([(c, pending)]) is None


def test_the_table_shows_what_runs_first_when_there_is_not_room_for_all(make_study: MakeStudy) -> None:
    study = make_study(a={}, b={"max_steps": 100}, c={})
    a, b, c = study.cells
    states = [
        (a, CellState("done", step=10)),
        (b, CellState("running", step=50, loss=0.25, rate=5.0)),
        (c, CellState("failed", message="a [red] reason\nmore")),
    ]
    console = Console(file=io.StringIO(), width=120)
    console.print(table(study, states, rows=2))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "1 running, 1 failed, 1 done" in text
    assert "50/100" in text
    assert "0.2500" in text
    assert "10 s" in text
    assert "a [red] reason" in text
    assert "more" in text.splitlines()[-3]
    assert text.index(" b ") < text.index(" c ")
    assert " a  " not in text.replace("a [red]", "")


def test_a_terminal_gets_a_table_and_a_file_gets_lines(make_study: MakeStudy) -> None:
    study = make_study(a={})
    (cell,) = study.cells
    for terminal in (True, False):
        file = io.StringIO()
        with Board(study, Console(file=file, force_terminal=terminal, width=120)) as board:
            for state in (
                *(CellState("pending"), CellState("running", step=1), CellState("interrupted", step=3)),
                *(CellState("running", step=4), CellState("failed", message="why")),
            ):
                board.show([(cell, state)])
        assert ("steps/s" in file.getvalue()) == terminal
        lines = [line[9:] for line in file.getvalue().splitlines()]
        if not terminal:
            told = ["running", "interrupted after 0 s", "running from step 3", "failed after 0 s: why"]
            assert lines == [f"[0/1 done] a: {what}" for what in told]

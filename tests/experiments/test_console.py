"""What a run says while it works: a bar with loss, speed and time left; lines; or nothing."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from rich.console import Console

from experiments.console import Reporter, Style
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training.fit import fit


def reporter(style: Style, *, terminal: bool = False) -> tuple[Reporter, io.StringIO]:
    """A reporter and what it writes, on a terminal of 160 columns or into a file."""
    told, made = io.StringIO(), Reporter(style)
    made.console = Console(file=told, force_terminal=terminal, width=160, highlight=False)
    return made, told


def test_the_bar_of_a_training_shows_loss_speed_and_the_time_left(make_run: Callable[..., Run]) -> None:
    made, told = reporter("rich", terminal=True)
    run = make_run(trainer__log_every=1)
    fit(run, stop=Stop(), reporter=made)
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", told.getvalue()).rstrip().splitlines()[-1]
    assert run.path.name in last
    assert "12/12" in last
    assert re.search(r"loss \d\.\d{4}  \d+\.\d steps/s", last)
    assert re.search(r"\d:\d\d:\d\d +0:00:00$", last.rstrip()), "time gone and time left"


def test_the_time_left_is_that_of_the_steps_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    made, told = reporter("rich", terminal=True)
    made.console.get_time = lambda: now
    made.begin("run", done=0, total=100)
    assert made._bar is not None
    for step in range(1, 11):
        now = 2.0 * step
        made.advance(step, "loss [bold] 0.5")
    made._bar.refresh()
    made.end()
    assert "0:03:00" in told.getvalue(), "90 steps of 2 s"
    assert "loss [bold] 0.5" in told.getvalue(), "brackets are text"


def test_into_a_file_go_lines_and_not_many() -> None:
    made, told = reporter("lines")
    made.begin("run", done=3, total=1000)
    for step in range(4, 1001):
        made.advance(step, f"loss {step}")
    made.end()
    made.notice("stopped [at] 1000")
    lines = [line.rstrip() for line in told.getvalue().splitlines()]
    assert lines[0] == "run: 3/1000"
    assert lines[-2:] == ["run: 1000/1000  loss 1000", "stopped [at] 1000"]
    assert len(lines) <= 5


def test_nothing_is_nothing() -> None:
    made, told = reporter("none")
    made.begin("run", done=0, total=2)
    made.advance(2, "loss")
    made.notice("done")
    made.end()
    assert told.getvalue() == ""

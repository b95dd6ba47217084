"""What a run does to its trackers, attempt by attempt, without a training: numbers are functions of name and step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from experiments.runs import Run
from experiments.trackers.base import Tracker
from experiments.trackers.csv import CSV

LAST = 12


@dataclass(frozen=True)
class Attempt:
    """From a checkpoint to a step; there it is closed, or killed when the service keeps ``kept`` of its rows."""

    first: int
    last: int
    kept: int | None


@st.composite
def attempts(draw: st.DrawFn) -> list[Attempt]:
    """Attempts that each begin at a step that the one before had reached; the last comes to the end."""
    found, reached = [], 0
    for _ in range(draw(st.integers(0, 3))):
        last = draw(st.integers(reached, LAST))
        killed = draw(st.booleans())
        found.append(Attempt(reached, last, draw(st.integers(0, 3)) if killed else None))
        reached = draw(st.integers(reached, last)) if killed else last
    return [*found, Attempt(reached, LAST, None)]


def value(name: str, step: int) -> float:
    return len(name) + step / 64


def due(step: int) -> list[str]:
    """The names that get a number at a step: one always, one at each third."""
    return ["train/loss"] if step % 3 else ["train/loss", "validation/loss_power-0.12@80"]


def make(run: Run, tracker: Tracker, attempt: Attempt) -> None:
    """Log every step of an attempt as the training does: each callback on its own, CSV first; does not close it."""
    trackers: list[Tracker] = [CSV(), tracker]
    for each in trackers:
        each.open(run, first_step=attempt.first)
    for step in range(attempt.first + 1, attempt.last + 1):
        for name in due(step):
            for each in trackers:
                each.log(step, {name: value(name, step)})
        for each in trackers:
            each.flush()
    trackers[0].close()


EXPECTED: dict[tuple[int, str], Any] = {
    (step, name): value(name, step) for step in range(1, LAST + 1) for name in due(step)
}
"""Every number that the run has at its end."""

"""``fewstep grid report --watch`` writes while cells can change, and a last time when none can."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.cli import watching


class Looked:
    """A study whose cells are in other states at every look."""

    path, report = Path("nowhere"), Path("nowhere", "report")

    def __init__(self, *looks: list[str]) -> None:
        self.looks, self.refreshed = list(looks), 0

    def refresh(self) -> None:
        self.refreshed += 1

    def states(self) -> list[tuple[None, Any]]:
        return [(None, SimpleNamespace(state=state)) for state in self.looks.pop(0)]


def follow(study: Any, write: Any, every: float) -> None:
    watching.follow(study, write, every=every)


def test_it_ends_with_the_grid_and_the_last_page_stays(capsys: pytest.CaptureFixture[str]) -> None:
    study = Looked(["running", "pending"], ["done", "running"], ["done", "failed"])
    written: list[float | None] = []
    follow(study, written.append, 0.01)
    assert written == [0.01, 0.01, None]
    assert study.refreshed == 3, "a grid that is planned anew is read anew"
    assert "1 done, 1 failed" in capsys.readouterr().err


def test_what_has_ended_is_written_once() -> None:
    written: list[float | None] = []
    follow(Looked(["done", "cancelled"]), written.append, 60)
    assert written == [None]


def test_ctrl_c_leaves_a_page_that_stays() -> None:
    written: list[float | None] = []

    def write(every: float | None) -> None:
        written.append(every)
        if every is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(Looked(["running"]), write, 0.01)
    assert written == [0.01, None]

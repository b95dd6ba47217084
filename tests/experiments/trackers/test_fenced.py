from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from experiments.errors import StoppedAtOnce
from experiments.runs import Run
from experiments.trackers.csv import CSV
from experiments.trackers.fenced import Fenced
from experiments.trackers.tensorboard import TensorBoard


class Recording:
    """Keeps the names of what is called."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def open(self, run: Run, *, first_step: int) -> None:
        self.called.append("open")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.called.append("log")

    def image(self, step: int, name: str, pixels: Any) -> None:
        self.called.append("image")

    def flush(self) -> None:
        self.called.append("flush")

    def close(self) -> None:
        self.called.append("close")

    def summary(self, run: Run, values: Mapping[str, float]) -> None:
        self.called.append("summary")


def lost() -> None:
    raise StoppedAtOnce("another has it")


def every(tracker: Fenced, run: Run) -> list[Callable[[], None]]:
    return [
        lambda: tracker.open(run, first_step=0), lambda: tracker.log(1, {}), lambda: tracker.image(1, "x", None),
        tracker.flush, lambda: tracker.summary(run, {}),
    ]  # fmt: skip


def test_a_tracker_hears_of_everything_while_the_run_is_ours_and_of_nothing_after(tmp_path: Path) -> None:
    inner, run = Recording(), Run(tmp_path)
    tracker = Fenced(inner, run)
    for call in (*every(tracker, run), tracker.close):
        call()
    assert inner.called == ["open", "log", "image", "flush", "summary", "close"]
    run.fence = lost
    for call in every(tracker, run):
        with pytest.raises(StoppedAtOnce):
            call()
    tracker.close()
    assert len(inner.called) == 6


@pytest.mark.parametrize("kind", [CSV, TensorBoard])
def test_nothing_is_held_back_that_would_be_written_later(tmp_path: Path, kind: type[Any]) -> None:
    run = Run(tmp_path)
    tracker = Fenced(kind(), run)
    tracker.open(run, first_step=0)
    for step in range(1, 4):
        tracker.log(step, {"loss": 1.0 / step})
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert sum(map(len, before.values())) > 40
    run.fence = lost
    tracker.close()
    tracker.tracker.close()  # as the interpreter's end might
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before

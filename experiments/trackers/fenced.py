"""A tracker that asks, before it writes anything, whether the run is still ours to write."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from experiments.errors import StoppedAtOnce
from experiments.runs import Run
from experiments.trackers.base import Tracker


class Fenced:
    """Any tracker behind its run's fence, which raises where the right to write is lost."""

    def __init__(self, tracker: Tracker, run: Run):
        self.tracker, self.run = tracker, run

    def open(self, run: Run, *, first_step: int) -> None:
        self.run.fence()
        self.tracker.open(run, first_step=first_step)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.run.fence()
        self.tracker.log(step, values)

    def image(self, step: int, name: str, pixels: Any) -> None:
        self.run.fence()
        self.tracker.image(step, name, pixels)

    def flush(self) -> None:
        self.run.fence()
        self.tracker.flush()

    def close(self) -> None:
        """Close it; one that has lost the right to write is left as it is, for closing writes what was held back."""
        with suppress(StoppedAtOnce):
            self.run.fence()
            self.tracker.close()

    def summary(self, run: Run, values: Mapping[str, float]) -> None:
        self.run.fence()
        self.tracker.summary(run, values)

"""What a tracker is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from experiments.runs import Run


class Tracker(Protocol):
    """Takes a run's numbers and pictures by step, and at its end what it came to. Rank 0 alone has trackers.

    A class may name the packages that it needs in ``requires: ClassVar[tuple[str, ...]]``; without them the run is
    refused before it starts, with the extra to install (see :mod:`experiments.trackers.chosen`).
    """

    def open(self, run: Run, *, first_step: int) -> None:
        """Begin, or go on with, ``run``; the next step is ``first_step`` + 1.

        What an earlier attempt logged after ``first_step`` is dropped, or is not logged a second time.
        """
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def image(self, step: int, name: str, pixels: Any) -> None:
        """A picture: uint8 array (H, W, 3)."""
        ...

    def flush(self) -> None:
        """Put what was logged on the disk. Called from another thread than the rest, before a checkpoint counts."""
        ...

    def close(self) -> None: ...

    def summary(self, run: Run, values: Mapping[str, float]) -> None:
        """What a finished run came to, by name; the tracker is closed. Given again, it takes the place of the last."""
        ...

"""What a tracker is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class Tracker(Protocol):
    """Takes numbers and pictures by step. Rank 0 alone has trackers."""

    def open(self, run: Path, *, first_step: int) -> None:
        """Begin in a run's folder; what an earlier attempt logged after ``first_step`` is dropped."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def image(self, step: int, name: str, pixels: Any) -> None:
        """A picture: uint8 array (H, W, 3)."""
        ...

    def flush(self) -> None:
        """Put what was logged on the disk. Called from another thread than the rest, before a checkpoint counts."""
        ...

    def close(self) -> None: ...

"""Data in a file, for tests: known by what it holds, not by where it lies."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar

from datamodules.points import Points


class Filed(Points):
    """Points whose seed stands in a file.

    Args:
        path: the file.
        digest: of what it holds; null takes what is found, and anything else is refused.
    """

    places: ClassVar[tuple[str, ...]] = ("path",)
    contents: ClassVar[tuple[str, ...]] = ("digest",)

    def __init__(self, *, path: Path, digest: str | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise ValueError(f"there is no file {path}")
        text = self.path.read_text()
        super().__init__(size=16, seed=int(text))
        self.digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        if digest not in (None, self.digest):
            raise ValueError(f"{path} holds {self.digest}, but {digest} is asked for")

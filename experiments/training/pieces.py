"""A tensor of a checkpoint whose rows lie in several files, of which a process reads those that it needs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Pieces:
    """A divided tensor before it is put together.

    Args:
        name: for messages.
        shape: of the whole.
        pieces: the index of its first row and the rows of each piece, in any order; they may be mapped from a file.

    Raises:
        ValueError: rows are missing.
    """

    def __init__(self, name: str, shape: Sequence[int], pieces: Sequence[tuple[int, Tensor]]):
        self.shape = torch.Size(shape)
        self._pieces = sorted((piece for piece in pieces if len(piece[1])), key=lambda piece: piece[0])
        ends = [0, *(start + len(rows) for start, rows in self._pieces)]
        if [*(start for start, _ in self._pieces), shape[0]] != ends:
            raise ValueError(f"{name} of shape {tuple(shape)} lacks rows: its pieces end at {ends}")

    def rows(self, start: int, stop: int) -> Tensor:
        """A copy of the rows from ``start`` up to ``stop``."""
        parts = [rows[max(start - at, 0) : max(stop - at, 0)] for at, rows in self._pieces]
        return torch.cat(parts).reshape(-1, *self.shape[1:])

    def whole(self) -> Tensor:
        """A copy of all rows."""
        return self.rows(0, self.shape[0])

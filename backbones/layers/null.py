"""A learned stand-in for a condition that was dropped."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NullRow(nn.Module):
    """One learned vector that replaces every vector of a dropped row.

    Args:
        width: the width W of the vectors.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.row = nn.Parameter(torch.zeros(width))

    def forward(self, values: Tensor, drop: Tensor) -> Tensor:
        """Values (B, ..., W) with the null row in every place of the rows marked in drop (B,) bool."""
        where = drop.view(-1, *[1] * (values.ndim - 1))
        return torch.where(where, self.row, values.to(self.row.dtype))

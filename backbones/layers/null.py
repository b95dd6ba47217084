"""Learned stand-ins for a condition that was dropped."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from backbones.condition import Complete


class NullRow(nn.Module):
    """One learned vector in place of the vectors of dropped rows.

    Args:
        width: the width W of the vectors.
        learned: whether the vector is a parameter; it is 0 where not.
    """

    def __init__(self, width: int, *, learned: bool = True) -> None:
        super().__init__()
        self.row = nn.Parameter(torch.zeros(width)) if learned else None

    def forward(self, values: Tensor, drop: Tensor) -> Tensor:
        """Values (B, W) with the null row in the rows marked in drop (B,) bool."""
        return torch.where(drop[:, None], 0.0 if self.row is None else self.row, values)


class NullContext(nn.Module):
    """A context of ``length`` equal learned tokens in place of that of dropped rows.

    What a dropped row becomes does not depend on how long the context was that it had, nor on its padding: a shorter
    context is padded to ``length`` tokens, and of a longer one the first ``length`` are the null. A row of which every
    token is masked has no context, and counts as dropped.

    Args:
        length: the number of null tokens: the data's number of context tokens.
        width: the width W of a token.
        learned: whether the null token is a parameter; it is 0 where not.
    """

    def __init__(self, length: int, width: int, *, learned: bool = True) -> None:
        super().__init__()
        self.length = length
        self.row = nn.Parameter(torch.zeros(width)) if learned else None

    def forward(self, condition: Complete) -> tuple[Tensor, Tensor | None]:
        """The context's tokens, and which of them are.

        Args:
            condition: with context (B, L, W), and context_mask (B, L) or none; what masked tokens hold does not matter.

        Returns:
            Tokens (B, max(L, length), W), and a mask (B, max(L, length)) bool, True somewhere in every row, or None
            where all of them are tokens.
        """
        context, mask = condition.value["context"], condition.value.get("context_mask")
        drop, null = condition.drop["context"], 0.0 if self.row is None else self.row
        if mask is None and context.shape[1] == self.length:
            return torch.where(drop[:, None, None], null, context), None
        mask = context.new_ones(context.shape[:2], dtype=torch.bool) if mask is None else mask.bool()
        drop = drop | ~mask.any(dim=1)
        short = max(self.length - context.shape[1], 0)
        context, mask = pad(context, (0, 0, 0, short)), pad(mask, (0, short))
        mask = mask & ~drop[:, None]
        tokens = torch.where(mask[..., None], context, null)
        first = torch.arange(mask.shape[1], device=mask.device) < self.length
        return tokens, mask | (drop[:, None] & first)

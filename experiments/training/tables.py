"""Losses in bins of time and of step size, as tables that the mean over batches, steps and ranks may be taken of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from objectives import Loss

BY_TIME, BY_STEP = "loss_by_time", "loss_by_step"
NAMES = (BY_TIME, BY_STEP)
TIMES = 8
"""Bins of time, [i/8, (i+1)/8): the middles are the times of the validation losses."""
LEVELS = 16
"""The smallest step that has a bin of its own is 2⁻¹⁶."""


def tables(loss: Loss) -> dict[str, Tensor]:
    """A micro-batch's losses against their times and steps, as far as the objective tells them."""
    found, losses = {}, loss.per_sample.detach()
    if loss.times is not None:
        found[BY_TIME] = by_time(losses, loss.times.detach())
    if loss.steps is not None:
        found[BY_STEP] = by_step(losses, loss.steps.detach())
    return found


def by_time(losses: Tensor, times: Tensor) -> Tensor:
    """(2, TIMES): the share of the batch in each bin of time, and its losses' part of the batch's mean.

    Args:
        losses, times: (B,), times within [0, 1].
    """
    return table(losses, (times * TIMES).long().clamp(0, TIMES - 1), TIMES)


def by_step(losses: Tensor, steps: Tensor) -> Tensor:
    """(2, LEVELS + 2): the same by step length; bin k is the nearest to 2⁻ᵏ, and the last one is of length 0.

    Args:
        losses, steps: (B,), steps within [0, 1].
    """
    return table(losses, levels(steps), LEVELS + 2)


def levels(steps: Tensor) -> Tensor:
    """(B,) the bins of step lengths (B,)."""
    level = (-torch.log2(steps.clamp(min=2.0**-LEVELS))).round().long().clamp(0, LEVELS)
    return torch.where(steps > 0, level, LEVELS + 1)


def length(level: int) -> float:
    """The length that a bin of step lengths stands for."""
    return 2.0**-level if level <= LEVELS else 0.0


def table(losses: Tensor, bins: Tensor, count: int) -> Tensor:
    """(2, count): the share of the batch in each of so many bins (B,), and its losses' part of the batch's mean."""
    member = bins[:, None] == torch.arange(count, device=bins.device)  # a sum over rows has an order, index_add none
    both = torch.stack((torch.ones_like(losses), losses))[:, :, None]
    return torch.where(member, both, torch.zeros_like(both)).sum(1) / len(losses)


def read(name: str, mean: Sequence[float]) -> dict[str, float]:
    """The mean losses of the bins that were met, by name: ``loss_t3``, ``loss_step_0.125``.

    Args:
        name: BY_TIME or BY_STEP.
        mean: a table's elements, or the mean of tables'.
    """
    count = len(mean) // 2
    rows = enumerate(zip(mean[:count], mean[count:], strict=True))
    return {_bin(name, i): total / share for i, (share, total) in rows if share > 0}


def _bin(name: str, i: int) -> str:
    if name == BY_TIME:
        return f"loss_t{i}"
    return f"loss_step_{length(i):g}"

"""Conditions: None, or a plain dict of tensors that all lead with B; "drop" marks the rows that a backbone nulls."""

from __future__ import annotations

import torch
from torch import Tensor

Condition = dict[str, Tensor] | None


def with_drop(condition: Condition, drop: Tensor) -> Condition:
    """The condition with the rows (B,) bool dropped too, beside those that were dropped already."""
    if condition is None:
        return None
    earlier = condition.get("drop")
    if earlier is not None:
        drop = earlier | (drop[:, None] if earlier.dim() == 2 else drop)
    return {**condition, "drop": drop}


def every(condition: Condition, stride: int) -> Condition:
    """Rows 0, stride, 2·stride, … of a condition."""
    return None if condition is None else {name: value[::stride] for name, value in condition.items()}


def with_null(condition: dict[str, Tensor]) -> dict[str, Tensor]:
    """2B rows: the condition, then the same with every row dropped."""
    first = next(iter(condition.values()))
    keep = condition.get("drop", torch.zeros(first.shape[0], dtype=torch.bool, device=first.device))
    doubled = {name: torch.cat((value, value)) for name, value in condition.items()}
    return {**doubled, "drop": torch.cat((keep, torch.ones_like(keep)))}

"""Rows by their place in groups of consecutive ones: the first few of each group, and the others."""

from __future__ import annotations

import torch
from torch import Tensor

from objectives.condition import Condition


def leading(rows: Tensor, group: int, count: int) -> Tensor:
    """The first `count` rows of each group of `group`."""
    return rows.unflatten(0, (-1, group))[:, :count].flatten(0, 1)


def trailing(rows: Tensor, group: int, count: int) -> Tensor:
    """All rows but the first `count` of each group of `group`."""
    return rows.unflatten(0, (-1, group))[:, count:].flatten(0, 1)


def leading_condition(condition: Condition, group: int, count: int) -> Condition:
    """The first `count` rows of each group of a condition."""
    return None if condition is None else {name: leading(value, group, count) for name, value in condition.items()}


def with_leading(rows: Tensor, first: Tensor, group: int, count: int) -> Tensor:
    """`rows`, but for the first `count` of each group of `group`, which are `first`'s."""
    new, old = first.unflatten(0, (-1, count)), rows.unflatten(0, (-1, group))
    return torch.cat((new, old[:, count:]), dim=1).flatten(0, 1)

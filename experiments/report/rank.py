"""The global rank: how often a cell stands on the best front, over all controls."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def fronts(points: ArrayLike) -> NDArray[np.int64]:
    """Front index of each point by non-dominated sorting, counted from 1.

    A point dominates another when it is no worse in every metric and better in one; smaller is better. Front 1
    holds the points that none dominates, front 2 those that none dominates once front 1 is taken away, and so on.
    Equal points share a front.

    Args:
        points: (cells, metrics), finite or +inf (worst); nan has no order.

    Returns:
        (cells,) int64.

    Raises:
        ValueError: for another shape, or for nan.
    """
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"points must have shape (cells, metrics), not {values.shape}")
    if np.isnan(values).any():
        raise ValueError("points must not hold nan: a cell without a number cannot be ranked")
    no_worse = np.all(values[:, None, :] <= values[None, :, :], axis=-1)
    dominates = no_worse & ~no_worse.T
    above = dominates.sum(0)  # how many that are left dominate each
    front = np.zeros(len(values), dtype=np.int64)
    index = 0
    while (front == 0).any():
        index += 1
        best = (front == 0) & (above == 0)
        front[best] = index
        above = above - dominates[best].sum(0)
    return front


def global_rank(costs: ArrayLike) -> NDArray[np.float64]:
    """Mean front index of each cell over all controls: 1 is best, and means best under every control.

    A control is one setting under which all cells are compared: sampler × weights × data set.

    Args:
        costs: (cells, controls, metrics), smaller better; negate a metric of which more is better.

    Returns:
        (cells,) float64, ≥ 1.

    Raises:
        ValueError: for another shape, for no control, or for nan.

    Source: Esser et al. 2024 (arXiv 2403.03206), section 5.1.1.
    """
    values = np.asarray(costs, dtype=np.float64)
    if values.ndim != 3 or values.shape[1] == 0:
        raise ValueError(f"costs must have shape (cells, controls ≥ 1, metrics), not {values.shape}")
    return np.mean([fronts(values[:, control]) for control in range(values.shape[1])], axis=0)


def fronts_by_control(costs: ArrayLike) -> NDArray[np.float64]:
    """Front index of each cell under each control, among the cells that have every metric there; nan for the others.

    Args:
        costs: (cells, controls, metrics) as for :func:`global_rank`, but nan where there is no number.

    Returns:
        (cells, controls) float64.
    """
    values = np.asarray(costs, dtype=np.float64)
    found = np.full(values.shape[:2], np.nan)
    for control in range(values.shape[1]):
        known = ~np.isnan(values[:, control]).any(-1)
        found[known, control] = fronts(values[known, control])
    return found

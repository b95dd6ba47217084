"""How far one number tells another: Pearson's and Spearman's correlation with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from scipy.special import ndtri

from experiments.report.statistics.intervals import LEVEL, UNKNOWN, Estimate

LEAST = 4
"""Pairs below which there is no correlation: its interval would be all of [−1, 1]."""


@dataclass(frozen=True)
class Correlation:
    """Of ``n`` pairs; ``note`` says why there is none."""

    n: int
    pearson: Estimate = UNKNOWN
    spearman: Estimate = UNKNOWN
    note: str = ""


def correlate(x: Sequence[float], y: Sequence[float]) -> Correlation:
    """Both correlations over the pairs of which both numbers are finite, each with its 95 % interval.

    Raises:
        ValueError: x and y are not of one length.
    """
    pairs = np.array([(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)])
    if len(pairs) < LEAST:
        return Correlation(len(pairs), note=f"fewer than {LEAST} pairs")
    if (np.ptp(pairs, axis=0) == 0).any():
        return Correlation(len(pairs), note="all values equal")
    from scipy.stats import pearsonr, spearmanr

    n, tests = len(pairs), cast(Any, (pearsonr, spearmanr))
    pearson, spearman = (float(test(pairs[:, 0], pairs[:, 1]).statistic) for test in tests)
    return Correlation(
        n, _estimate(pearson, pearson_interval(pearson, n)), _estimate(spearman, spearman_interval(spearman, n))
    )


def pearson_interval(r: Any, n: int, level: float = LEVEL) -> tuple[Any, Any]:
    """Fisher's interval of Pearson correlations r of n ≥ 4 pairs: tanh(atanh r ± z/√(n − 3)); (1, 1) for r = 1."""
    r = np.asarray(r, dtype=np.float64)
    with np.errstate(divide="ignore"):
        middle = np.arctanh(np.clip(r, -1, 1))
    half = float(ndtri((1 + level) / 2)) / math.sqrt(n - 3)
    return np.tanh(middle - half), np.tanh(middle + half)


def spearman_interval(r: Any, n: int, level: float = LEVEL) -> tuple[Any, Any]:
    """Interval of Spearman correlations r of n ≥ 4 pairs: tanh(atanh r ± z·√((1 + r²/2)/(n − 3))).

    Where there are ties r is of mean ranks. A perfect order has an interval too: where r is ±1 it is taken half a swap
    of neighbours inside, at 1 − 6/(n(n² − 1)).
    Source: Bonett and Wright 2000 (Sample size requirements for Pearson, Kendall and Spearman correlations), eq. 3.
    """
    most = 1 - 6 / (n * (n * n - 1))
    inside = np.clip(np.asarray(r, dtype=np.float64), -most, most)
    middle, half = np.arctanh(inside), float(ndtri((1 + level) / 2)) * np.sqrt((1 + inside**2 / 2) / (n - 3))
    low, high = np.tanh(middle - half), np.tanh(middle + half)
    return np.where(inside <= -most, -1.0, low), np.where(inside >= most, 1.0, high)


def _estimate(r: float, ends: tuple[Any, Any]) -> Estimate:
    return Estimate(r, float(ends[0]), float(ends[1]))

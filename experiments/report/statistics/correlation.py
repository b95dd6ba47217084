"""How far one number tells another: Pearson's and Spearman's correlation with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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

    Pearson's by Fisher's z, atanh r ± 1.96/√(n − 3) (scipy.stats.pearsonr); Spearman's, on mean ranks where there are
    ties, atanh r ± 1.96·√((1 + r²/2)/(n − 3)). A perfect order has an interval too: where r is ±1 its z is taken half
    a swap of neighbours inside, at 1 − 6/(n(n² − 1)).
    Source: Bonett and Wright 2000 (Sample size requirements for Pearson, Kendall and Spearman correlations), eq. 3.

    Raises:
        ValueError: x and y are not of one length.
    """
    pairs = np.array([(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)])
    if len(pairs) < LEAST:
        return Correlation(len(pairs), note=f"fewer than {LEAST} pairs")
    if (np.ptp(pairs, axis=0) == 0).any():
        return Correlation(len(pairs), note="all values equal")
    from scipy.stats import pearsonr, spearmanr

    found = pearsonr(pairs[:, 0], pairs[:, 1])
    ends = found.confidence_interval(LEVEL)
    ranks = float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)
    return Correlation(
        len(pairs),
        Estimate(float(found.statistic), float(ends.low), float(ends.high)),
        Estimate(ranks, *spearman_interval(ranks, len(pairs))),
    )


def spearman_interval(r: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Ends of the interval of a Spearman correlation r of n ≥ 4 pairs; see :func:`correlate`."""
    most = 1 - 6 / (n * (n * n - 1))
    inside = max(-most, min(most, r))
    half = float(ndtri((1 + level) / 2)) * math.sqrt((1 + inside**2 / 2) / (n - 3))
    low, high = math.tanh(math.atanh(inside) - half), math.tanh(math.atanh(inside) + half)
    return (-1.0 if r <= -most else low), (1.0 if r >= most else high)

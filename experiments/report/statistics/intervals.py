"""Intervals of a mean, each with the number of values from which on it holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import stdtrit

Interval = tuple[float, float]

LEVEL = 0.95
BOOTSTRAP_FROM = 20
"""Values from which on a bootstrap interval is given; docs/statistics.md has the coverage that it has below."""
RESAMPLES = 1999


@dataclass(frozen=True)
class Estimate:
    """A number with the ends of its 95 % interval; nan where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan


UNKNOWN = Estimate(math.nan)


@lru_cache(maxsize=4096)
def t_quantile(freedom: float, level: float = LEVEL) -> float:
    """The (1 + level)/2 quantile of Student's t with so many degrees of freedom."""
    return float(stdtrit(freedom, (1 + level) / 2))


def spread(values: Sequence[float]) -> float:
    """Sample standard deviation (n − 1), exactly 0 where all values are equal; nan for fewer than two."""
    if len(values) < 2:
        return math.nan
    return 0.0 if min(values) == max(values) else float(np.std(values, ddof=1))


def student(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Student's interval of the mean: mean ± t_{(1+level)/2, n−1} · s/√n; None for n < 2.

    Exact for normal values at any n; over seeds the values are nearly so where each is itself a mean.
    """
    if len(values) < 2:
        return None
    mean = float(np.mean(values))
    half = t_quantile(len(values) - 1, level) * spread(values) / math.sqrt(len(values))
    return mean - half, mean + half


def bca(
    values: Sequence[float],
    statistic: Callable[..., Any] = np.mean,
    *,
    level: float = LEVEL,
    least: int = BOOTSTRAP_FROM,
) -> Interval | None:
    """Bias-corrected and accelerated bootstrap interval of ``statistic``; None for fewer than ``least`` values.

    The resamples are the same at each call. All values equal: that value, twice.
    Source: Efron 1987 (Better bootstrap confidence intervals), by scipy.stats.bootstrap.
    """
    if len(values) < max(2, least):
        return None
    if min(values) == max(values):
        return values[0], values[0]
    from scipy.stats import bootstrap

    found = bootstrap(
        (np.asarray(values),), statistic, n_resamples=RESAMPLES, confidence_level=level, method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def interquartile_mean(values: Any, axis: int = -1) -> Any:
    """Mean without the lowest and the highest ⌊n/4⌋ values.

    Source: Agarwal et al. 2021 (arXiv 2108.13264), section 4.3, by scipy.stats.trim_mean.
    """
    from scipy.stats import trim_mean

    return trim_mean(np.asarray(values, dtype=np.float64), 0.25, axis=axis)

"""Differences to a baseline seed by seed, and Holm's correction for asking many questions at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtr

from experiments.report.statistics.intervals import spread, student, t_quantile

ALPHA = 0.05
ROUNDING = 1e-12
"""Spread over the numbers themselves that differences owe to rounding alone."""


@dataclass(frozen=True)
class Difference:
    """A row's number less its baseline's, over the seeds that both have.

    Args:
        n: pairs.
        mean: of the differences; nan without a pair.
        low, high: Student's 95 % interval of that mean; nan for fewer than two pairs.
        p: of the paired t test of no difference; nan where there is no test.
        tightening: width of the interval over the width that the same values have unpaired (Welch's interval): what
            common random numbers are worth; nan where the unpaired values have no spread.
        unpaired: seeds that only one of the two has.
        adjusted: p after Holm's correction over its table; nan until then.
        note: why something is nan, "" where nothing is.
    """

    n: int
    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    tightening: float = math.nan
    unpaired: tuple[int | None, ...] = ()
    adjusted: float = math.nan
    note: str = ""

    @property
    def significant(self) -> bool:
        """Whether it is so at 5 % after Holm's correction."""
        return self.adjusted < ALPHA


def paired(values: Mapping[int | None, float], baseline: Mapping[int | None, float]) -> Difference:
    """The difference ``values`` − ``baseline`` over the seeds (the keys) at which both are finite.

    t = d̄·√n/s_d with n − 1 degrees of freedom. Differences that are equal but for rounding have an interval of no width
    and no test: Student's t knows nothing of them.
    """
    own, other = ({seed: v for seed, v in side.items() if math.isfinite(v)} for side in (values, baseline))
    common = [seed for seed in own if seed in other]
    alone = tuple(sorted(own.keys() ^ other.keys(), key=lambda seed: (seed is None, seed)))
    n = len(common)
    if n == 0:
        return Difference(0, unpaired=alone, note="no seed in common")
    x, y = ([side[seed] for seed in common] for side in (own, other))
    apart = [a - b for a, b in zip(x, y, strict=True)]
    mean = float(np.mean(apart))
    ends = student(apart)
    if ends is None:
        return Difference(1, mean, unpaired=alone, note="one seed in common")
    tightening = _over(ends[1] - ends[0], _welch_width(x, y))
    s = spread(apart)
    if not s > ROUNDING * max(map(abs, (*x, *y))):
        return Difference(n, mean, *ends, tightening=tightening, unpaired=alone, note="the same at every seed: no test")
    p = 2 * float(stdtr(n - 1, -abs(mean) * math.sqrt(n) / s))
    return Difference(n, mean, *ends, p=p, tightening=tightening, unpaired=alone)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values: p̃_(i) = max_{j ≤ i} min(1, (m − j + 1)·p_(j)); nan where p is nan.

    m counts the p values that are numbers: what cannot be tested is no question. They control the chance of one false
    claim or more in the family, whatever depends on what.
    Source: Holm 1979 (A simple sequentially rejective multiple test procedure).
    """
    asked = sorted((value, at) for at, value in enumerate(p) if not math.isnan(value))
    found, least = [math.nan] * len(p), 0.0
    for rank, (value, at) in enumerate(asked):
        least = max(least, min(1.0, (len(asked) - rank) * value))
        found[at] = least
    return found


def with_holm(differences: Sequence[Difference]) -> list[Difference]:
    """The same differences as one family."""
    adjusted = holm([difference.p for difference in differences])
    return [replace(difference, adjusted=p) for difference, p in zip(differences, adjusted, strict=True)]


def _welch_width(x: Sequence[float], y: Sequence[float]) -> float:
    """Width of Welch's interval of mean(x) − mean(y), which takes the values for independent."""
    of_x, of_y = (spread(side) ** 2 / len(side) for side in (x, y))
    both = of_x + of_y
    if both == 0:
        return 0.0
    freedom = both**2 / (of_x**2 / (len(x) - 1) + of_y**2 / (len(y) - 1))
    return 2 * t_quantile(freedom) * math.sqrt(both)


def _over(width: float, other: float) -> float:
    return width / other if other > 0 else math.nan

"""One number over the seeds of a cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from experiments.report.statistics.intervals import LEVEL, Interval, bca, interquartile_mean, spread, student


@dataclass(frozen=True)
class Summary:
    """Mean and spread of one number over the seeds of a cell.

    Args:
        values: the finite values, one for each seed that has one.
        expected: seeds that were planned.
        not_finite: seeds whose value is nan or infinite; they are counted here and enter no mean.
        missing: the seeds without a value, by name.
        broken: the seeds whose value is not finite, by name.
        seeds: the seeds of ``values``, by name.
    """

    values: tuple[float, ...]
    expected: int
    not_finite: int = 0
    missing: tuple[int | None, ...] = ()
    broken: tuple[int | None, ...] = ()
    seeds: tuple[int | None, ...] = ()

    def of(self, seed: int | None) -> Summary:
        """The summary of one seed alone."""
        values = tuple(value for value, own in zip(self.values, self.seeds, strict=False) if own == seed)
        return Summary(values, 1, int(seed in self.broken))

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def complete(self) -> bool:
        return self.n == self.expected

    @cached_property
    def mean(self) -> float:
        """Arithmetic mean; nan without a value."""
        return float(np.mean(self.values)) if self.values else math.nan

    @cached_property
    def std(self) -> float:
        """Sample standard deviation (n − 1); nan for fewer than two values."""
        return spread(self.values)

    @cached_property
    def iqm(self) -> float:
        """Interquartile mean; nan for fewer than four values, of which none would be left out."""
        return float(interquartile_mean(self.values)) if self.n >= 4 else math.nan

    def interval(self, level: float = LEVEL) -> Interval | None:
        """Student's two-sided interval of the mean; None for n < 2."""
        return student(self.values, level)

    def bootstrap(self, level: float = LEVEL) -> Interval | None:
        """BCa interval of the mean; None for fewer than 20 values, where it covers too seldom."""
        return bca(self.values, level=level)

    def iqm_interval(self, level: float = LEVEL) -> Interval | None:
        """BCa interval of the interquartile mean; None for fewer than 20 values."""
        return bca(self.values, interquartile_mean, level=level)


def summarise(values: Sequence[float | None], *, expected: int, seeds: Sequence[int | None] | None = None) -> Summary:
    """Summary of one value for each seed; None stands for a seed that has no value (yet).

    Args:
        values: one for each seed.
        expected: seeds that were planned.
        seeds: the name of each, where the missing ones are to be named.

    Raises:
        ValueError: another number of seeds than of values.
    """
    given = [float(value) for value in values if value is not None]
    finite = tuple(value for value in given if math.isfinite(value))
    if seeds is None:
        return Summary(finite, expected, len(given) - len(finite))
    named = list(zip(seeds, values, strict=True))
    missing = tuple(seed for seed, value in named if value is None)
    broken = tuple(seed for seed, value in named if value is not None and not math.isfinite(value))
    kept = tuple(seed for seed, value in named if value is not None and math.isfinite(value))
    return Summary(finite, expected, len(broken), missing, broken, kept)

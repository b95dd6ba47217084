"""What several seeds say together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Summary:
    """Mean and spread of one number over the seeds of a cell.

    Args:
        values: the finite values, one for each seed that has one.
        expected: seeds that were planned.
        not_finite: seeds whose value is nan or infinite; they are counted here and enter no mean.
    """

    values: tuple[float, ...]
    expected: int
    not_finite: int = 0

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def complete(self) -> bool:
        return self.n == self.expected

    @property
    def mean(self) -> float:
        """Arithmetic mean; nan without a value."""
        return float(np.mean(self.values)) if self.values else math.nan

    @property
    def std(self) -> float:
        """Sample standard deviation (n − 1); nan for fewer than two values."""
        return float(np.std(self.values, ddof=1)) if self.n > 1 else math.nan

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """Two-sided interval of the mean: mean ± t_{(1+level)/2, n−1} · std/√n (Student); None for n < 2."""
        if self.n < 2:
            return None
        from scipy.stats import t

        half = float(t.ppf((1 + level) / 2, self.n - 1)) * self.std / math.sqrt(self.n)
        return self.mean - half, self.mean + half


def summarise(values: Sequence[float | None], *, expected: int) -> Summary:
    """Summary of one value for each seed; None stands for a seed that has no value (yet)."""
    given = [float(value) for value in values if value is not None]
    finite = tuple(value for value in given if math.isfinite(value))
    return Summary(finite, expected, len(given) - len(finite))

"""Paired timings: the machine is shared, so each ratio compares neighbours in time, and the median is what counts."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Paired:
    """Seconds of baseline and candidate, pair by pair."""

    name: str
    baseline: tuple[float, ...]
    candidate: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Median over the pairs of candidate over baseline."""
        return statistics.median(c / b for b, c in zip(self.baseline, self.candidate, strict=True))

    @property
    def overall(self) -> float:
        """All of the candidate's time over all of the baseline's: what only few pairs see counts as well."""
        return sum(self.candidate) / sum(self.baseline)

    @property
    def spread(self) -> tuple[float, float]:
        """The smallest and the largest ratio of a pair."""
        ratios = [c / b for b, c in zip(self.baseline, self.candidate, strict=True)]
        return min(ratios), max(ratios)


def paired(name: str, baseline: Callable[[], float], candidate: Callable[[], float], *, pairs: int) -> Paired:
    """Run both in turn, ``pairs`` times, after one unmeasured run of each; the order changes from pair to pair."""
    baseline()
    candidate()
    times: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs):
        for which in (0, 1) if pair % 2 == 0 else (1, 0):
            times[which].append((baseline, candidate)[which]())
    return Paired(name, tuple(times[0]), tuple(times[1]))

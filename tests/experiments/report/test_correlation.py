"""Correlations against SciPy and published numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from experiments.bench.intervals import of_correlations
from experiments.report.statistics import correlate
from experiments.report.statistics.correlation import spearman_interval


def test_both_are_scipys_with_ties_too() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, (2, 12)).astype(float)
    found = correlate(x.tolist(), y.tolist())
    expected = stats.pearsonr(x, y)
    assert found.pearson.value == pytest.approx(expected.statistic)
    assert (found.pearson.low, found.pearson.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.spearman.value == pytest.approx(stats.spearmanr(x, y).statistic)


def test_pearsons_interval_is_fishers() -> None:
    # By hand: r = 0.7 of 28 pairs: tanh(0.8673 ± 1.9600/√25) = 0.4425, 0.8509.
    x = np.arange(28.0)
    e = np.cos(1.7 * x)
    x = (x - x.mean()) / x.std()
    e = e - e.mean() - x * np.mean(x * e)
    y = 0.7 * x + math.sqrt(1 - 0.49) * e / e.std()
    found = correlate(x.tolist(), y.tolist()).pearson
    assert (found.value, found.low, found.high) == pytest.approx((0.7, 0.4425, 0.8509), abs=1e-4)


@pytest.mark.parametrize(("n", "rho"), [(10, 0.0), (20, 0.5), (60, 0.9)])
def test_intervals_cover_nearly_as_often_as_they_say(n: int, rho: float) -> None:
    pearson, spearman = of_correlations(n, rho, studies=1000)
    assert abs(pearson - 0.95) < 0.025
    assert 0.91 < spearman < 0.985


def test_a_perfect_order_of_few_pairs_is_not_certain() -> None:
    found = correlate([1, 2, 3, 4, 5], [1, 4, 9, 16, 25])
    assert found.spearman.value == pytest.approx(1)
    assert found.spearman.high == 1
    assert found.spearman.low < 0.9
    low, high = spearman_interval(-1.0, 5)
    assert (low, high) == (-1.0, -found.spearman.low)


@pytest.mark.parametrize(
    ("x", "y", "n", "note"),
    [
        ([1, 2, 3], [1, 2, 4], 3, "fewer than 4 pairs"),
        ([1, 2, 3, math.nan], [1, 2, 4, 5], 3, "fewer than 4 pairs"),
        ([], [], 0, "fewer than 4 pairs"),
        ([1, 1, 1, 1], [1, 2, 3, 4], 4, "all values equal"),
    ],
)
def test_what_has_no_correlation_says_why(x: list[float], y: list[float], n: int, note: str) -> None:
    found = correlate(x, y)
    assert (found.n, found.note) == (n, note)
    assert math.isnan(found.pearson.value)
    assert math.isnan(found.spearman.low)


def test_lists_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        correlate([1, 2], [1])


def test_spearmans_interval_is_that_of_bonett_and_wright() -> None:
    # r = 0.8 of 20 pairs: tanh(1.0986 ± 1.9600·√(1.32/17)).
    assert spearman_interval(0.8, 20) == pytest.approx((0.50236, 0.92814), abs=1e-5)

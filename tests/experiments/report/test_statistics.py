from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.bench.intervals import SHAPES, of_means
from experiments.report.statistics import summarise
from experiments.report.statistics.coverage import MEASURED
from experiments.report.statistics.intervals import RESAMPLES, interquartile_mean


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9))
def test_interval_is_scipys(values: list[float]) -> None:
    summary = summarise(values, expected=len(values))
    interval = summary.interval()
    assert interval is not None
    if summary.std > 1e-9:
        expected = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
        np.testing.assert_allclose(interval, expected, rtol=1e-9, atol=1e-9)
    else:
        np.testing.assert_allclose(interval, (summary.mean, summary.mean), atol=1e-6)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_interval_covers_the_mean_as_often_as_it_says(n: int) -> None:
    # 2,000 studies of n seeds: the standard error of the coverage is 0.5 %.
    draws = np.random.default_rng(0).normal(5.0, 2.0, (2000, n))
    intervals = [summarise(list(row), expected=n).interval() for row in draws]
    covered = np.mean([low <= 5.0 <= high for low, high in filter(None, intervals)])
    assert abs(covered - 0.95) < 0.015


def test_missing_and_not_finite_seeds_are_counted_and_enter_no_mean() -> None:
    summary = summarise([1.0, None, math.nan, 3.0, math.inf], expected=5)
    assert (summary.n, summary.not_finite, summary.mean, summary.complete) == (2, 2, 2.0, False)


def test_one_value_has_no_spread() -> None:
    summary = summarise([1.5], expected=1)
    assert summary.complete
    assert summary.mean == 1.5
    assert math.isnan(summary.std)
    assert summary.interval() is None


def test_nothing_has_no_mean() -> None:
    assert math.isnan(summarise([None], expected=1).mean)


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_a_lower_level_is_a_narrower_interval(level: float) -> None:
    summary = summarise([1.0, 2.0, 4.0], expected=3)
    wide, narrow = summary.interval(), summary.interval(level)
    assert wide is not None
    assert narrow is not None
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_the_bootstrap_is_scipys_and_not_to_be_had_below_twenty_seeds() -> None:
    values = np.random.default_rng(0).exponential(size=20).tolist()
    assert summarise(values[:19], expected=19).bootstrap() is None
    summary = summarise(values, expected=20)
    for found, statistic in ((summary.bootstrap(), np.mean), (summary.iqm_interval(), interquartile_mean)):
        expected = stats.bootstrap(
            (values,), statistic, n_resamples=RESAMPLES, method="BCa", rng=np.random.default_rng(0)
        ).confidence_interval
        assert found == pytest.approx((expected.low, expected.high))
    assert summary.bootstrap() == summary.bootstrap(), "the resamples are the same at each call"


@given(st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=24))
def test_the_interquartile_mean_leaves_a_quarter_out_at_either_end(values: list[float]) -> None:
    cut = len(values) // 4
    expected = np.mean(sorted(values)[cut : len(values) - cut])
    assert summarise(values, expected=len(values)).iqm == pytest.approx(expected, abs=1e-9)


def test_fewer_than_four_seeds_have_no_interquartile_mean() -> None:
    assert math.isnan(summarise([1.0, 2.0, 9.0], expected=3).iqm)


@pytest.mark.parametrize("n", [2, 3, 25])
def test_equal_values_have_no_spread_at_all(n: int) -> None:
    summary = summarise([0.1] * n, expected=n)
    assert summary.std == 0
    assert summary.interval() == (summary.mean, summary.mean)
    assert summary.bootstrap() == ((0.1, 0.1) if n >= 20 else None)


def test_missing_and_broken_seeds_are_named() -> None:
    summary = summarise([1.0, None, math.nan, 3.0], expected=4, seeds=[7, 8, 9, None])
    assert (summary.missing, summary.broken, summary.seeds) == ((8,), (9,), (7, None))
    assert summary.of(7).values == (1.0,)
    assert summary.of(9).not_finite == 1
    assert summary.of(8).n == summary.of(8).not_finite == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_the_coverage_that_the_page_prints_is_what_is_measured(shape: str) -> None:
    # 600 studies against the 2,000 of the page: their difference has a standard error of up to 2 %.
    for n in (3, 20):
        (printed,) = (one for one in MEASURED if (one.shape, one.n) == (shape, n))
        found = of_means(n, shape, studies=600, seed=5)
        assert found["Student's t"] == pytest.approx(printed.student, abs=0.05)
        assert found["percentile"] == pytest.approx(printed.percentile, abs=0.07)
        assert found["BCa"] == pytest.approx(printed.bca, abs=0.07)
    few, enough = (next(o for o in MEASURED if (o.shape, o.n) == ("normal", n)) for n in (3, 20))
    assert few.percentile < 0.8 < 0.9 < (enough.bca or 0)

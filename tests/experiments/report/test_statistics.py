from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.report.statistics import summarise


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


def test_interval_covers_the_mean_as_often_as_it_says() -> None:
    # 2,000 studies of 3 seeds: the standard error of the coverage is 0.5 %.
    draws = np.random.default_rng(0).normal(5.0, 2.0, (2000, 3))
    intervals = [summarise(list(row), expected=3).interval() for row in draws]
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

"""Paired differences against SciPy, and Holm's correction against published numbers and its own definition."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.report.statistics import Difference, holm, paired, with_holm
from experiments.report.statistics.paired import ALPHA

numbers = st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=2, max_size=8)


def by_seed(values: list[float]) -> dict[int | None, float]:
    return dict(enumerate(values))


@given(st.lists(st.tuples(*[st.integers(-1000, 1000)] * 2), min_size=2, max_size=8))
def test_test_and_interval_are_scipys(pairs: list[tuple[int, int]]) -> None:
    x, y = ([value / 10 for value in side] for side in zip(*pairs, strict=True))
    found = paired(by_seed(x), by_seed(y))
    if np.ptp(np.subtract(x, y)) < 1e-9:
        assert math.isnan(found.p)
        return
    expected = stats.ttest_rel(x, y)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-9, abs=1e-9)
    if np.ptp(x) and np.ptp(y):
        low, high = stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
        assert found.tightening == pytest.approx((found.high - found.low) / (high - low), rel=1e-9)


def test_pairing_is_worth_what_the_seeds_share() -> None:
    shared = np.random.default_rng(0).normal(size=20)
    own = np.random.default_rng(1).normal(size=(2, 20)) / 10
    found = paired(by_seed(list(shared + own[0])), by_seed(list(shared + own[1])))
    assert found.tightening < 0.15
    alone = paired(by_seed(list(own[0])), by_seed(list(own[1])))
    assert 0.8 < alone.tightening < 1.3


def test_seeds_without_a_partner_are_named_and_enter_nothing() -> None:
    found = paired({0: 1.0, 1: 2.0, 2: math.nan, 3: 9.0}, {0: 0.0, 1: 0.5, 2: 5.0, 4: 1.0})
    assert (found.n, found.mean, found.unpaired) == (2, 1.25, (2, 3, 4))


@pytest.mark.parametrize(
    ("values", "baseline", "n", "note"),
    [
        ({0: 1.0}, {1: 1.0}, 0, "no seed in common"),
        ({}, {}, 0, "no seed in common"),
        ({0: 3.0}, {0: 1.0}, 1, "one seed in common"),
        ({0: 3.0, 1: 4.0}, {0: 1.0, 1: 2.0}, 2, "the same at every seed: no test"),
        ({0: 3.0, 1: 3.0}, {0: 3.0, 1: 3.0}, 2, "the same at every seed: no test"),
        ({None: 3.0}, {None: 1.0}, 1, "one seed in common"),
    ],
)
def test_what_cannot_be_tested_says_why(values: dict, baseline: dict, n: int, note: str) -> None:
    found = paired(values, baseline)
    assert (found.n, found.note) == (n, note)
    assert math.isnan(found.p)
    assert not found.significant
    if n == 2:
        assert found.low == found.high == found.mean


def test_intervals_of_differences_cover_as_often_as_they_say() -> None:
    # 2,000 studies of 3 seeds whose noise is mostly shared: the standard error of the coverage is 0.5 %.
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=(2000, 1, 3)), rng.normal(size=(2000, 2, 3))
    x, y = np.moveaxis(shared + 0.2 * own, 1, 0)
    found = [paired(by_seed(list(a + 0.7)), by_seed(list(b))) for a, b in zip(x, y, strict=True)]
    assert abs(np.mean([one.low <= 0.7 <= one.high for one in found]) - 0.95) < 0.015


def test_holm_is_the_published_example() -> None:
    # p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") of R, also the worked example of the encyclopaedias.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])


@given(st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.02, 0.04, 0.05, 0.3, 1.0]), min_size=1, max_size=6))
def test_holm_is_the_closure_of_bonferronis_test(p: list[float]) -> None:
    # Marcus, Peritz and Gabriel 1976: a hypothesis is rejected when every intersection that holds it is.
    def closed(at: int) -> float:
        sets = (s for n in range(1, len(p) + 1) for s in itertools.combinations(range(len(p)), n) if at in s)
        return max(min(1.0, len(s) * min(p[i] for i in s)) for s in sets)

    assert holm(p) == pytest.approx([closed(at) for at in range(len(p))])


def test_what_was_not_tested_is_no_part_of_the_family() -> None:
    assert holm([0.03, math.nan, 0.01])[::2] == pytest.approx([0.03, 0.02])
    assert math.isnan(holm([0.03, math.nan])[1])
    assert holm([]) == []


def test_one_false_claim_in_a_table_is_as_rare_as_it_says() -> None:
    # 1,000 tables of 10 comparisons with one baseline, nothing being different; each alone errs in 5 %.
    rng = np.random.default_rng(0)
    alone = family = 0
    for _ in range(1000):
        baseline = by_seed(list(rng.normal(size=5)))
        found = with_holm([paired(by_seed(list(row)), baseline) for row in rng.normal(size=(10, 5))])
        alone += any(one.p < ALPHA for one in found)
        family += any(one.significant for one in found)
    assert family / 1000 < 0.05 + 0.015
    assert alone / 1000 > 0.2


def test_significance_is_of_the_adjusted_p() -> None:
    assert Difference(3, adjusted=0.049).significant
    assert not Difference(3, p=0.001, adjusted=0.05).significant
    assert not Difference(3, p=0.001).significant

"""Schedules against their closed forms at the points that matter."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.training.schedules import Constant, Cosine, InverseSqrt, Linear


@given(warmup=st.integers(0, 50), final=st.floats(0, 1), step=st.integers(0, 400))
def test_factors_stay_within_bounds_and_warm_up_linearly(warmup: int, final: float, step: int) -> None:
    for schedule in (Constant(warmup), Cosine(warmup, final), Linear(warmup, final), InverseSqrt(warmup, 60)):
        assert 0 <= schedule(step, 300) <= 1
        if step < warmup:
            assert schedule(step, 300) == pytest.approx((step + 1) / warmup)


@given(warmup=st.integers(0, 50), final=st.floats(0, 1))
def test_the_end_and_the_middle(warmup: int, final: float) -> None:
    total = warmup + 200
    assert Cosine(warmup, final)(total, total) == pytest.approx(final)
    assert Linear(warmup, final)(total, total) == pytest.approx(final)
    assert Cosine(warmup, final)(warmup + 100, total) == pytest.approx((1 + final) / 2)
    quarter = final + (1 - final) * (1 + math.cos(math.pi / 4)) / 2
    assert Cosine(warmup, final)(warmup + 50, total) == pytest.approx(quarter)
    assert Constant(warmup)(total, total) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: Constant(-1),
        lambda: Cosine(-1),
        lambda: Cosine(0, 1.5),
        lambda: Linear(0, -0.1),
        lambda: InverseSqrt(-1),
    ],
)
def test_out_of_range_is_refused(make) -> None:
    with pytest.raises(ValueError, match=r"warmup|final"):
        make()


@given(t_ref=st.integers(1, 10_000), factor=st.integers(1, 100))
def test_the_inverse_root_holds_until_its_reference_and_halves_with_four_times_the_steps(
    t_ref: int, factor: int
) -> None:
    schedule = InverseSqrt(warmup=0, t_ref=t_ref)
    assert schedule(0, 10**6) == schedule(t_ref, 10**6) == 1
    assert schedule(4 * factor * t_ref, 10**6) == pytest.approx(schedule(factor * t_ref, 10**6) / 2)
    assert schedule(factor * t_ref, 10**6) == pytest.approx(factor**-0.5)
    with pytest.raises(ValueError, match="t_ref"):
        InverseSqrt(t_ref=0)

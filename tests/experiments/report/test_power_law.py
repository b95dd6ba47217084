"""The power law against SciPy, against a straight line where it is one, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import curve_fit

from experiments.bench.intervals import of_power_laws
from experiments.report.statistics import PowerLaw, fit_power_law
from experiments.report.statistics.power_law import Profile


def made(
    a: float = 3.0, b: float = 0.3, c: float = 0.5, *, error: float = 0.0, n: int = 10, seed: int = 0
) -> tuple[list[float], list[float]]:
    x = np.geomspace(1.0, 1e3, n)
    y = (a * x**-b + c) * (1 + error * np.random.default_rng(seed).normal(size=n))
    return x.tolist(), y.tolist()


def law(x: list[float], y: list[float]) -> PowerLaw:
    found = fit_power_law(x, y)
    assert isinstance(found, PowerLaw), found
    return found


@pytest.mark.parametrize("unit", [1.0, 1e18])
@pytest.mark.parametrize("b", [0.05, 0.3, 1.5])
def test_the_law_behind_exact_losses_is_found(b: float, unit: float) -> None:
    x, y = made(b=b)
    found = law([unit * value for value in x], y)
    assert (found.b.value, found.c.value, found.a * unit**-b) == pytest.approx((b, 0.5, 3.0), rel=1e-4)
    assert found.error < 1e-6
    assert found.at(unit * 1e4) == pytest.approx(3.0 * 1e4**-b + 0.5, rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_the_fit_is_scipys(seed: int) -> None:
    x, y = made(error=0.02, seed=seed, n=12)
    found = law(x, y)
    expected, _ = curve_fit(lambda x, a, b, c: a * x**-b + c, x, y, p0=(3, 0.3, 0.5), sigma=y, maxfev=20_000)
    assert (found.a, found.b.value, found.c.value) == pytest.approx(tuple(expected), rel=2e-3, abs=2e-3)
    at_scipys = np.square((np.array(y) - (expected[0] * np.array(x) ** -expected[1] + expected[2])) / y).sum()
    assert sum(r * r for r in found.residuals) <= at_scipys * (1 + 1e-6)
    assert found.error == pytest.approx(math.sqrt(sum(r * r for r in found.residuals) / (12 - 3)))


def test_with_a_known_exponent_the_intervals_are_those_of_a_line() -> None:
    x, y = (np.array(side) for side in made(error=0.05, n=9))
    profile = Profile(x, y)
    b = 0.4
    profile._set(np.array([b]))
    u = (np.exp(-b * np.log(x / profile.unit)) - 1) / b
    design, weight = np.stack([u, np.ones_like(u)], 1), y**-2
    covariance = np.linalg.inv(design.T @ (weight[:, None] * design))
    beta = covariance @ design.T @ (weight * y)
    squares = (weight * (y - design @ beta) ** 2).sum()
    at = np.array([(math.exp(-b * math.log(5e3 / profile.unit)) - 1) / b, 1.0])
    for new in (False, True):
        # One degree of freedom fewer than a line has: the exponent counts as a parameter.
        spread = (at @ covariance @ at + (at @ beta) ** 2 * new) * squares / (9 - 3)
        half = stats.t.ppf(0.975, 9 - 3) * math.sqrt(spread)
        assert profile.interval(5e3, new=new) == pytest.approx((at @ beta - half, at @ beta + half))


def test_further_away_the_interval_is_wider() -> None:
    found = law(*made(error=0.02))
    widths = [high - low for low, high in (found.next_run(x) for x in (1e3, 1e4, 1e6))]
    assert widths == sorted(widths)
    assert all(low >= 0 for low, _ in (found.next_run(x) for x in (1e3, 1e6, 1e12)))


def test_points_that_do_not_know_the_floor_say_so() -> None:
    assert law(*made(c=0.0, error=0.02)).c.low < 0
    assert law(*made(c=2.0, error=0.001, n=20)).c.low > 0


@pytest.mark.parametrize(("amounts", "error", "ahead"), [(5, 0.02, 3.0), (8, 0.02, 10.0)])
def test_extrapolation_intervals_cover_as_often_as_the_page_says(amounts: int, error: float, ahead: float) -> None:
    covered, _ = of_power_laws(amounts, error, 0.3, ahead=ahead, studies=300)
    assert 0.91 < covered <= 0.99


@pytest.mark.parametrize(
    ("x", "y", "why"),
    [
        ([1, 2, 3], [3, 2, 1], "fewer than 4"),
        ([1, 1, 2, 2, 3, 3], [3, 3, 2, 2, 1, 1], "fewer than 4"),
        ([1, 2, 3, math.nan], [3, 2, 1, 1], "fewer than 4"),
        ([], [], "fewer than 4"),
        ([1, 2, 3, 4], [1, 2, 3, 4], "does not fall"),
        ([1, 2, 3, 4], [1, 1, 1, 1], "does not fall"),
        ([1, 2, 3, 4], [1, 0.5, 0, -0.5], "above 0"),
        ([0, 1, 2, 3], [4, 3, 2, 1], "above 0"),
    ],
)
def test_where_there_is_no_law_it_says_why(x: list[float], y: list[float], why: str) -> None:
    found = fit_power_law(x, y)
    assert isinstance(found, str)
    assert why in found


def test_lists_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        fit_power_law([1, 2], [1])

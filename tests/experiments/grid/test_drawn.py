from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.grid.drawn import Budget, Distribution, Drawn, distribution, samples_each

LR = Distribution("loguniform", (1e-4, 1e-2))


def drawn(sequence: str, seed: int = 0, shared: bool = True, **axes: Distribution) -> Drawn:
    return Drawn(axes or {"lr": LR, "warmup": Distribution("int", (0, 500))}, 4, None, sequence, seed, shared)


@given(u=st.floats(0, 1, exclude_max=True), ends=st.tuples(st.integers(-9, 9), st.integers(1, 9)))
def test_values_lie_between_the_ends_and_rise_with_the_quantile(u: float, ends: tuple[int, int]) -> None:
    first, last = ends[0], ends[0] + ends[1]
    for kind in ("int", "uniform"):
        one = Distribution(kind, (first, last))
        assert first <= one.at(u) <= last
        assert one.at(0.0) <= one.at(u) <= one.at(math.nextafter(1, 0))
    assert Distribution("int", (first, last)).at(math.nextafter(1, 0)) == last
    assert 1e-4 <= LR.at(u) <= 1e-2
    assert LR.at(0.5) == pytest.approx(1e-3)


@pytest.mark.parametrize("sequence", ["random", "sobol", "halton"])
@given(count=st.integers(1, 20), seed=st.integers(0, 5))
@settings(max_examples=15)
def test_more_points_only_lengthen_a_sequence(sequence: str, count: int, seed: int) -> None:
    one = drawn(sequence, seed)
    assert one.points(count, "") == one.points(25, "")[:count]
    assert len({repr(point) for point in one.points(count, "")}) == count


@pytest.mark.parametrize("sequence", ["random", "sobol", "halton"])
def test_shared_points_are_everybodys_and_others_are_their_owners(sequence: str) -> None:
    assert drawn(sequence).points(4, "a") == drawn(sequence).points(4, "b")
    own = drawn(sequence, shared=False)
    assert own.points(4, "a") != own.points(4, "b")
    assert own.points(4, "a") == own.points(4, "a")
    assert drawn(sequence, seed=1).points(4, "") != drawn(sequence).points(4, "")


def test_a_sobol_sequence_fills_every_eighth_once() -> None:
    points = drawn("sobol", a=Distribution("uniform", (0, 8)), b=Distribution("uniform", (0, 8))).points(8, "")
    for axis in ("a", "b"):
        assert sorted(int(point[axis]) for point in points) == list(range(8)), axis


def test_points_are_different_or_refused() -> None:
    few = drawn("random", size=Distribution("choice", ("s", "m", "l")))
    assert {point["size"] for point in few.points(3, "")} == {"s", "m", "l"}
    with pytest.raises(ValueError, match="4 different points are asked for; there are 3"):
        few.points(4, "")


def test_a_budget_buys_every_value_as_much_whatever_else_is_varied_with_it() -> None:
    points: list[Any] = [{"objective": "a", "width": 1}, {"objective": "a", "width": 2}, {"objective": "b", "width": 1}]
    assert samples_each(Budget(24, "runs", "objective"), points, 2, lambda _: 1) == {"'a'": 3, "'b'": 6}
    found = samples_each(Budget(2400, "steps", "objective"), points, 1, lambda point: 100 * point["width"])
    assert found == {"'a'": 4, "'b'": 12}
    with pytest.raises(ValueError, match="3 runs over 2 values of objective leave 1 for each, and one sample"):
        samples_each(Budget(3, "runs", "objective"), points, 1, lambda _: 1)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (3, "is no distribution"),
        ({"lognormal": [0, 1]}, "is no distribution"),
        ({"uniform": [1]}, "{uniform: [from, to]}"),
        ({"uniform": [2, 1]}, "from a smaller to a larger number"),
        ({"loguniform": [0, 1]}, "above 0"),
        ({"int": [0.5, 2]}, "takes whole numbers"),
        ({"choice": []}, "{choice: [a, b, …]}"),
    ],
)
def test_what_is_no_distribution_is_refused(written: Any, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        distribution(written)

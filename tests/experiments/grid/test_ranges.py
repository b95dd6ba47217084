from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.grid.ranges import rounded, values


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([3, "a"], [3, "a"]),
        ({"range": [1, 8]}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"range": [8, 2, -3]}, [8, 5, 2]),
        ({"range": [0, 0.3, 0.1]}, [0, 0.1, 0.2, 0.3]),
        ({"linspace": [0, 1, 5]}, [0, 0.25, 0.5, 0.75, 1]),
        ({"logrange": ["1e-4", 1e-2, 5]}, [1e-4, 3.162e-4, 1e-3, 3.162e-3, 1e-2]),
        ({"powers_of_two": [1, 16]}, [1, 2, 4, 8, 16]),
        ({"powers_of_two": [0.25, 1]}, [0.25, 0.5, 1]),
    ],
)
def test_what_is_written_stands_for_these_values(written: Any, expected: list[Any]) -> None:
    assert values(written) == expected


@given(first=st.integers(-50, 50), count=st.integers(1, 40), step=st.integers(1, 7), sign=st.sampled_from([1, -1]))
def test_a_range_includes_both_ends_and_keeps_whole_numbers(first: int, count: int, step: int, sign: int) -> None:
    last = first + sign * step * (count - 1)
    found = values({"range": [first, last, sign * step]})
    assert (found[0], found[-1], len(found)) == (first, last, count)
    assert all(type(value) is int for value in found)


@given(low=st.floats(1e-6, 1e-2), ratio=st.floats(2, 1e4), count=st.integers(2, 12))
def test_a_logarithmic_range_has_equal_ratios_to_four_digits(low: float, ratio: float, count: int) -> None:
    found = values({"logrange": [low, low * ratio, count]})
    assert len(found) == count
    for index, value in enumerate(found):
        assert value == rounded(value)
        assert math.isclose(value, low * ratio ** (index / (count - 1)), rel_tol=1e-3)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (3, "3 is not a list of values"),
        ([], "it is empty"),
        ({"rnage": [1, 2]}, "did you mean 'range'?"),
        ({"range": [1]}, "range takes 2 or 3 numbers"),
        ({"range": [1, 5, -1]}, "never gets from 1 to 5"),
        ({"range": [1, "x"]}, "'x' is not a number"),
        ({"range": [0, 10_000_000]}, "is too long"),
        ({"linspace": [0, 1, 1]}, "a whole number of values from 2"),
        ({"linspace": [1, 1, 3]}, "holds a value twice"),
        ({"logrange": [0, 1, 3]}, "takes numbers above 0"),
        ({"powers_of_two": [1, 12]}, "takes powers of two, given 12"),
    ],
)
def test_what_is_no_list_of_values_is_refused(written: Any, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        values(written)

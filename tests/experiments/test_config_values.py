"""Values against annotations: what fits, what is converted, what is refused and how that is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.config.faults import Fault, Refused
from experiments.config.marks import Plugins, Range
from experiments.config.values import conform, describe


def no_plugin(*_: Any) -> Any:
    raise AssertionError("no plugin is expected here")


def fit(value: Any, annotation: Any) -> Any:
    return conform(value, annotation, ("key",), [], no_plugin)


def refusals(value: Any, annotation: Any) -> list[str]:
    faults: list[Fault] = []
    with pytest.raises(Refused):
        conform(value, annotation, ("key",), faults, no_plugin)
    assert faults
    return [str(fault) for fault in faults]


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (3, int, 3),
        (1e3, int, 1000),
        ("1e3", int, 1000),
        (3, float, 3.0),
        ("1e-3", float, 0.001),
        (-0.0, float, 0.0),
        (True, bool, True),
        ("text", str, "text"),
        ("a/b", Path, "a/b"),
        (None, int | None, None),
        (2, int | None, 2),
        ("ema", Literal["ema", "raw"], "ema"),
        ("1,4,128", tuple[int, ...], (1, 4, 128)),
        (4, tuple[int, ...], (4,)),
        ([1, 2.0], list[int], [1, 2]),
        ("lognorm(0,1), mode(1)", list[str], ["lognorm(0,1)", "mode(1)"]),
        ("0.5, 2", tuple[float, float], (0.5, 2.0)),
        ([], tuple[int, ...], ()),
        ([[1, 2], [3]], tuple[tuple[int, ...], ...], ((1, 2), (3,))),
        ((1, 2), Sequence[int], [1, 2]),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        (0.999, Annotated[float, Range(at_least=0, below=1)], 0.999),
        ("euler", Annotated[str, Plugins("solvers")], "euler"),
        ("x", Any, "x"),
    ],
)
def test_what_fits_is_converted_without_loss(value: Any, annotation: Any, expected: Any) -> None:
    found = fit(value, annotation)
    assert found == expected
    assert type(found) is type(expected)
    assert str(found) == str(expected)


@pytest.mark.parametrize(
    ("value", "annotation", "told"),
    [
        (1.5, int, "given 1.5; expected a whole number"),
        (True, int, "given true; expected a whole number"),
        (True, float, "given true; expected a number"),
        (1, bool, "given 1; expected true or false"),
        ("true", bool, "the text 'true'"),
        (1, str, "given 1; expected a text"),
        (None, int, "given null; expected a whole number"),
        ("abc", float, "the text 'abc'"),
        (float("nan"), float, "expected a number"),
        ("inf", float, "expected a number"),
        ("x", int | None, "expected a whole number or null"),
        ("emma", Literal["ema", "raw"], "did you mean 'ema'?; expected 'ema' or 'raw'"),
        (1, Literal["1"], "expected '1'"),
        (True, Literal[1], "expected 1"),
        (None, list[int], "given null; expected a list"),
        ({"a": 1}, tuple[int, ...], "given a mapping; expected a list"),
        ("1,2,3", tuple[int, int], "given 3 values; expected 2"),
        ("1,(2", list[str], "brackets"),
        ([1], dict[str, int], "expected a mapping"),
        (1.0, Annotated[float, Range(at_least=0, below=1)], "allowed: a number ≥ 0 and < 1"),
        (0.0, Annotated[float, Range(above=0)] | None, "allowed: a number > 0"),
        (5, Annotated[int, Range(at_most=4)], "≤ 4"),
        ("eulr", Annotated[str, Plugins("solvers")], "did you mean 'euler'"),
        ("???", int, "a value is required here: a whole number"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_is_allowed(value: Any, annotation: Any, told: str) -> None:
    (message,) = refusals(value, annotation)
    assert told in message
    assert message.startswith("key: ")


def test_every_wrong_item_of_a_list_is_told_at_its_place() -> None:
    messages = refusals([1, "x", 2, None], list[int])
    assert [message.split(":")[0] for message in messages] == ["key.1", "key.3"]


@given(st.integers(-(2**53), 2**53))
def test_whole_numbers_survive_as_ints_and_floats(number: int) -> None:
    assert fit(number, int) == number == fit(float(number), int)
    assert fit(number, float) == float(number)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_survive_and_are_ints_only_where_whole(number: float) -> None:
    assert fit(number, float) == number == fit(repr(number), float)
    if number.is_integer():
        assert fit(number, int) == number
    else:
        refusals(number, int)


@given(st.lists(st.integers(), min_size=1))
def test_a_list_in_text_is_the_list(numbers: list[int]) -> None:
    assert fit(",".join(map(str, numbers)), list[int]) == numbers


def test_descriptions_read_as_words() -> None:
    from objectives.densities.base import TimeDensity

    assert describe(Annotated[int, Range(at_least=1)] | None) == "a whole number ≥ 1 or null"
    assert describe(tuple[float, ...]) == "a list, each a number"
    assert describe(tuple[int, str]) == "a list of 2: a whole number, a text"
    assert describe(TimeDensity) == "a density (a name, or a mapping with a name)"

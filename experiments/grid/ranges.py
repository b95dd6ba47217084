"""Lists of values that are written as a range: ``{range: [1, 8]}``. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.registry.names import nearest

DIGITS = 4
"""Significant digits of values on a logarithmic range, and of values that are drawn: 1e-4, 3.162e-4, 1e-3."""

LONGEST = 100_000

FORMS = "[a, b, …], {range: [first, last]}, {range: [first, last, step]}, {linspace: [first, last, count]}, " + (
    "{logrange: [first, last, count]} or {powers_of_two: [first, last]}"
)


def values(written: Any) -> list[Any]:
    """The values that a list or a range stands for; ranges include both ends.

    Raises:
        ValueError: it is neither, or the range holds nothing, or a value twice.
    """
    if isinstance(written, list):
        found = written
    elif isinstance(written, Mapping) and len(written) == 1:
        found = _range(*next(iter(written.items())))
    else:
        raise ValueError(f"{written!r} is not a list of values: {FORMS}")
    if not found:
        raise ValueError(f"{written!r} is not a list of values: it is empty")
    return found


def rounded(value: float, digits: int = DIGITS) -> float:
    """``value`` to so many significant digits: the same on every machine, and short in a name."""
    return float(f"{value:.{digits}g}")


def number(value: Any) -> float:
    """A finite number, or a text that is one.

    Raises:
        ValueError: it is none.
    """
    try:
        found = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(f"{value!r} is not a number")
    return int(found) if isinstance(value, int) else found


def _range(kind: str, given: Any) -> list[Any]:
    if kind not in _KINDS:
        near = nearest(kind, _KINDS)
        raise ValueError(
            f"no range is called {kind!r}" + (f"; did you mean {near!r}?" if near else "") + f" Allowed: {FORMS}"
        )
    counts, make = _KINDS[kind]
    if not isinstance(given, list) or len(given) not in counts:
        raise ValueError(f"{kind} takes {' or '.join(map(str, counts))} numbers, given {given!r}")
    found = make(*map(number, given))
    if len(set(found)) < len(found):
        raise ValueError(f"{kind} of {given!r} holds a value twice")
    return found


def _steps(first: float, last: float, step: float = 1) -> list[float]:
    if step == 0 or (last - first) * step < 0:
        raise ValueError(f"range [{first}, {last}, {step}] never gets from {first} to {last}")
    count = math.floor((last - first) / step * (1 + 1e-12) + 1e-9) + 1
    _fits(count)
    if all(isinstance(item, int) for item in (first, last, step)):
        return [first + index * step for index in range(count)]
    return [rounded(first + index * step, 12) for index in range(count)]


def _linear(first: float, last: float, count: float) -> list[float]:
    whole = _count("linspace", count)
    return [rounded(first + (last - first) * index / (whole - 1), 12) for index in range(whole)]


def _logarithmic(first: float, last: float, count: float) -> list[float]:
    whole = _count("logrange", count)
    if first <= 0 or last <= 0:
        raise ValueError(f"logrange [{first}, {last}] takes numbers above 0")
    return [rounded(first * (last / first) ** (index / (whole - 1))) for index in range(whole)]


def _powers(first: float, last: float) -> list[float]:
    for end in (first, last):
        if end <= 0 or not math.log2(end).is_integer():
            raise ValueError(f"powers_of_two takes powers of two, given {end}")
    exponents = range(round(math.log2(first)), round(math.log2(last)) + 1)
    return [2**exponent if exponent >= 0 else 2.0**exponent for exponent in exponents]


def _count(kind: str, count: float) -> int:
    if count != math.floor(count) or count < 2:
        raise ValueError(f"{kind} takes a whole number of values from 2, given {count}")
    _fits(int(count))
    return int(count)


def _fits(count: int) -> None:
    if count > LONGEST:
        raise ValueError(f"a range of {count} values is too long: {LONGEST} at most")


_KINDS: Mapping[str, tuple[Sequence[int], Callable[..., list[float]]]] = {
    "range": ((2, 3), _steps),
    "linspace": ((3,), _linear),
    "logrange": ((3,), _logarithmic),
    "powers_of_two": ((2,), _powers),
}

"""Axes whose values are drawn: at random, or by a quasi-random sequence that fills the space evenly.

::

    quasi_random:                             # or random:
      axes:
        optimizer.lr: {loguniform: [1e-4, 1e-2]}
        schedule.warmup: {int: [0, 500]}
      samples: 8                              # or budget: {runs: 96, over: objective}
      seed: 0
      shared: true                            # the same points for every cell of the rest of the grid

Each combination of the other axes gets ``samples`` points. With a budget instead, every value of the axis ``over``
gets the same number of runs (or of training steps), whatever else is varied with it: a fair search. Imports no torch.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from experiments.grid.ranges import number, rounded

SEQUENCES = ("sobol", "halton")
_FRUITLESS = 200


@dataclass(frozen=True)
class Distribution:
    """What one axis is drawn from: ``uniform``, ``loguniform`` and ``int`` between two ends, ``choice`` of a list."""

    kind: str
    given: tuple[Any, ...]

    def at(self, u: float) -> Any:
        """The value at the quantile u ∈ [0, 1); numbers have four significant digits."""
        first, last = self.given[0], self.given[-1]
        if self.kind == "choice":
            return self.given[min(int(u * len(self.given)), len(self.given) - 1)]
        if self.kind == "int":
            return min(first + int(u * (last - first + 1)), last)
        if self.kind == "loguniform":
            return rounded(first * (last / first) ** u)
        return rounded(first + (last - first) * u)


@dataclass(frozen=True)
class Budget:
    """How much each value of the axis ``over`` may cost: its share of ``total`` ``unit``."""

    total: int
    unit: str
    over: str


@dataclass(frozen=True)
class Drawn:
    """The drawn axes of a grid."""

    axes: Mapping[str, Distribution]
    samples: int | None
    budget: Budget | None
    sequence: str
    seed: int
    shared: bool

    def points(self, count: int, of: str) -> list[dict[str, Any]]:
        """``count`` different points, the first of a sequence that more points only lengthen.

        Args:
            of: what they are drawn for; it counts where points are not shared, and whatever stands beside it does not.

        Raises:
            ValueError: there are not so many different points.
        """
        key = f"{self.seed}" if self.shared else f"{self.seed} {of}"
        found: dict[str, dict[str, Any]] = {}
        fruitless = 0
        for row in _rows(self.sequence, len(self.axes), random.Random(key), count):
            if len(found) == count:
                break
            point = {axis: one.at(u) for (axis, one), u in zip(self.axes.items(), row, strict=True)}
            fruitless = fruitless + 1 if repr(point) in found else 0
            found.setdefault(repr(point), point)
            if fruitless == _FRUITLESS:
                raise ValueError(f"{count} different points are asked for; there are {len(found)}")
        return list(found.values())


def _rows(sequence: str, dimensions: int, source: random.Random, count: int) -> Iterator[tuple[float, ...]]:
    """Points of [0, 1)^dimensions without an end: pseudo-random, or a sequence moved by a random vector, modulo 1."""
    if sequence == "random":
        while True:
            yield tuple(source.random() for _ in range(dimensions))
    from scipy.stats import qmc

    made = (qmc.Sobol if sequence == "sobol" else qmc.Halton)(dimensions, scramble=False)
    shift = [source.random() for _ in range(dimensions)]
    for size in itertools.chain([2 ** math.ceil(math.log2(max(count, 2)))], itertools.repeat(64)):
        for row in made.random(size):
            yield tuple((float(u) + move) % 1.0 for u, move in zip(row, shift, strict=True))


def distribution(written: Any) -> Distribution:
    """Read ``{loguniform: [1e-4, 1e-2]}``.

    Raises:
        ValueError: it is no distribution.
    """
    if not isinstance(written, Mapping) or len(written) != 1 or next(iter(written)) not in _CHECKS:
        raise ValueError(f"{written!r} is no distribution: {', '.join(_CHECKS.values())}")
    ((kind, given),) = written.items()
    if not isinstance(given, list) or not given or (kind != "choice" and len(given) != 2):
        raise ValueError(f"{written!r} is no distribution: {_CHECKS[kind]}")
    if kind == "choice":
        return Distribution(kind, tuple(given))
    first, last = map(number, given)
    if kind == "int" and not (isinstance(first, int) and isinstance(last, int)):
        raise ValueError(f"int takes whole numbers, given {given!r}")
    if first >= last or (kind == "loguniform" and first <= 0):
        raise ValueError(
            f"{kind} goes from a smaller to a larger number{' above 0' * (kind == 'loguniform')}, given {given!r}"
        )
    return Distribution(kind, (first, last))


_CHECKS: Mapping[str, str] = {
    "uniform": "{uniform: [from, to]}",
    "loguniform": "{loguniform: [from, to]}",
    "int": "{int: [first, last]}",
    "choice": "{choice: [a, b, …]}",
}

Cost = Callable[[Mapping[str, Any]], int]


def samples_each(budget: Budget, points: list[Mapping[str, Any]], seeds: int, cost: Cost) -> dict[str, int]:
    """How many samples the points of each value of the axis ``over`` get, by the value's ``repr``.

    A value's share is total / (number of values); one sample of all its points, with every seed, costs the sum of
    their costs.

    Raises:
        ValueError: a share does not pay for one sample.
    """
    groups: dict[str, int] = {}
    for point in points:
        value = repr(point[budget.over])
        groups[value] = groups.get(value, 0) + seeds * (cost(point) if budget.unit == "steps" else 1)
    share = budget.total // len(groups)
    for value, each in groups.items():
        if share < each:
            raise ValueError(
                f"{budget.total} {budget.unit} over {len(groups)} values of {budget.over} leave {share} for each, "
                f"and one sample for {value} takes {each}"
            )
    return {value: share // each for value, each in groups.items()}

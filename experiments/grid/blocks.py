"""One grid of a study: its axes, and the points that they span. Imports no torch."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from experiments.config import ConfigError, Fault
from experiments.config.faults import unknown
from experiments.config.reading import Marks, where
from experiments.grid import conditions
from experiments.grid.conditions import Condition, seen
from experiments.grid.drawn import Drawn, samples_each
from experiments.grid.layers import Layers
from experiments.grid.values import same

Values = Mapping[str, Any]
Sources = Mapping[str, str | None]


@dataclass(frozen=True)
class Combination:
    """One point of a grid: its values by dotted key, where the file says each, and the grid's name.

    ``around`` marks a point that may turn out to be another one: of one factor at a time, the baseline itself.
    """

    values: Values
    sources: Sources
    block: str = ""
    around: bool = False


Parts = list[Combination]
"""The points of one axis."""


@dataclass(frozen=True)
class Block:
    """One grid as it was written. ``place`` is where it stands in the file: () or ("grids", name).

    ``alike`` says that cells which turn out to be the same run are one, and no fault.
    """

    name: str = ""
    base: Values = field(default_factory=dict)
    product: Mapping[str, list[Any]] = field(default_factory=dict)
    zips: list[Mapping[str, list[Any]]] = field(default_factory=list)
    one_at_a_time: Mapping[str, list[Any]] = field(default_factory=dict)
    drawn: Drawn | None = None
    cells: list[Values] = field(default_factory=list)
    alike: bool = False
    include: list[Condition] = field(default_factory=list)
    exclude: list[Condition] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    after: Mapping[str, list[str]] = field(default_factory=dict)
    resources: str | None = None
    marks: Marks = field(default_factory=dict, repr=False)
    place: tuple[str, ...] = ()

    @property
    def varied(self) -> list[str]:
        """Every key that this grid sets by itself."""
        axes = [self.base, self.product, *self.zips, self.one_at_a_time, self.drawn.axes if self.drawn else {}]
        keys = [key for axis in [*axes, *self.cells] for key in axis]
        return list(dict.fromkeys([*keys, *(["seed"] if self.seeds else [])]))

    def points(self, layers: Layers) -> list[Combination]:
        """Every point that the conditions leave, all of them for the first seed before any for the second.

        Raises:
            ConfigError: a condition names a key or value that no cell has; no cell is left; a budget is too small.
        """
        spanned = self._spanned(layers)
        drawn = self.drawn.axes if self.drawn else {}
        faults = list(self._idle(spanned, layers, drawn))
        kept = [point for point in spanned if self._stays(point, layers)]
        if not kept:
            section = "exclude" if self.exclude else "include"
            faults.append(self._fault(f"all {len(spanned)} cells are excluded: nothing is left to run", section))
        if faults:
            raise ConfigError(faults)
        if not self.seeds:
            return kept
        told = [self.at("seeds", str(index)) for index in range(len(self.seeds))]
        return [
            replace(point, values={**point.values, "seed": seed}, sources={**point.sources, "seed": source})
            for seed, source in zip(self.seeds, told, strict=True)
            for point in kept
        ]

    def at(self, *key: str) -> str | None:
        """Where a key of this grid was written."""
        return where(self.marks, (*self.place, *key))

    def _fault(self, message: str, *key: str) -> Fault:
        return Fault((*self.place, *key), message, self.at(*key))

    def _spanned(self, layers: Layers) -> list[Combination]:
        """All points, before any condition and without seeds."""
        axes = [self._axis("product", key, values) for key, values in self.product.items()]
        axes += [self._zipped(group, index) for index, group in enumerate(self.zips)]
        if self.one_at_a_time:
            axes.append(self._factors(layers))
        base = Combination(self.base, {key: self._base_mark(key) for key in self.base}, self.name)
        points: list[Combination] = []
        if axes or self.drawn or not self.cells:
            points = [_joined([base, *chosen]) for chosen in itertools.product(*axes)]
        if self.drawn:
            points = self._with_samples(points, layers)
        for index, cell in enumerate(self.cells):
            told = {key: self.at("cells", str(index), key) for key in cell}
            points.append(_joined([base, Combination(cell, told, around=self.alike)]))
        return points

    def _axis(self, section: str, key: str, values: Iterable[Any], *, around: bool = False) -> Parts:
        return [
            Combination({key: value}, {key: self.at(section, key, str(index))}, around=around)
            for index, value in enumerate(values)
        ]

    def _zipped(self, group: Mapping[str, list[Any]], index: int) -> Parts:
        place = ("zip",) if len(self.zips) == 1 and (*self.place, "zip", "0") not in self.marks else ("zip", str(index))
        return [
            Combination(dict(zip(group, row, strict=True)), {key: self.at(*place, key, str(number)) for key in group})
            for number, row in enumerate(zip(*group.values(), strict=True))
        ]

    def _factors(self, layers: Layers) -> Parts:
        """The baseline, and each other value of each key alone."""
        base = Combination(self.base, {}, self.name)
        parts = [Combination({}, {})]
        for key, values in self.one_at_a_time.items():
            there = seen(layers.settings(base), key)
            axis = self._axis("one_at_a_time", key, values, around=True)
            parts += [part for part in axis if not same(there, part.values[key])]
        return parts

    def _with_samples(self, points: list[Combination], layers: Layers) -> list[Combination]:
        """Each point with the samples of the drawn axes."""
        assert self.drawn is not None
        section = "random" if self.drawn.sequence == "random" else "quasi_random"
        sources = {key: self.at(section, "axes", key) for key in self.drawn.axes}
        try:
            counts = self._counts(points, layers)
            return [
                _joined([point, Combination(sample, sources)])
                for point, count in zip(points, counts, strict=True)
                for sample in self.drawn.points(count, repr(sorted(point.values.items())))
            ]
        except ValueError as error:
            raise ConfigError([self._fault(str(error), section)]) from None

    def _counts(self, points: list[Combination], layers: Layers) -> list[int]:
        assert self.drawn is not None
        budget = self.drawn.budget
        if budget is None:
            return [self.drawn.samples or 1] * len(points)
        fixed = replace(
            self, exclude=self._of_fixed_keys(self.exclude), include=self._of_fixed_keys(self.include)
        )  # what is drawn is not known yet
        kept = [point for point in points if fixed._stays(point, layers)]
        steps = {id(point.values): int(seen(layers.settings(point), "trainer.max_steps")) for point in kept}
        each = samples_each(
            budget, [point.values for point in kept], max(1, len(self.seeds)), lambda values: steps[id(values)]
        )
        return [each.get(repr(point.values[budget.over]), 0) for point in points]

    def _of_fixed_keys(self, wanted: list[Condition]) -> list[Condition]:
        drawn = self.drawn.axes if self.drawn else {}
        return [condition for condition in wanted if not drawn.keys() & condition.keys()]

    def _stays(self, point: Combination, layers: Layers) -> bool:
        if self.include and not any(layers.matches(point, condition) for condition in self.include):
            return False
        return not any(layers.matches(point, condition) for condition in self.exclude)

    def _idle(self, points: list[Combination], layers: Layers, drawn: Mapping[str, Any]) -> Iterator[Fault]:
        for section, wanted in (("include", self.include), ("exclude", self.exclude)):
            for index, condition in enumerate(wanted):
                for key, message in idle(condition, points, layers, drawn):
                    yield self._fault(message, section, str(index), key)

    def _base_mark(self, key: str) -> str | None:
        return self.at("base", *key.split("."))


def idle(
    condition: Condition, points: Sequence[Combination], layers: Layers, drawn: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """What a condition asks for that no cell has, key and message: a misspelt one would otherwise do nothing, unseen.

    Values that are drawn are not known when the condition is written; there only the key is looked at.
    """
    for key, wanted in condition.items():
        there = layers.distinct(points, key)
        if all(value is None for value in there):
            yield key, f"no cell of this grid says {key}"
            continue
        if key in drawn:
            continue
        for one in wanted if isinstance(wanted, list) else [wanted]:
            if any(conditions.holds(key, value, one) for value in there):
                continue
            told = list(dict.fromkeys(_name(value) for value in there))
            if conditions.is_comparison(one):
                signs = " and ".join(f"{sign} {operand}" for sign, operand in one.items())
                yield key, f"{key} is {signs} in no cell of this grid; it is {', '.join(told)}"
            else:
                yield key, unknown(f"value of {key} in this grid", _name(one), told)


def _name(value: Any) -> str:
    return str(value.get("name", value) if isinstance(value, Mapping) else value)


def _joined(parts: Iterable[Combination]) -> Combination:
    """One point of several parts; a key stands before the keys below it, so that these are laid over it."""
    parts = list(parts)
    values = {key: value for part in parts for key, value in part.values.items()}
    sources = {key: source for part in parts for key, source in part.sources.items()}
    order = _order(tuple(values))
    if order is not None:
        values = {key: values[key] for key in order}
    return Combination(values, sources, parts[0].block, any(part.around for part in parts))


@functools.cache
def _order(keys: tuple[str, ...]) -> list[str] | None:
    """The keys by depth where one lies below another, else None: as they are."""
    nested = any(key.startswith(f"{other}.") for key in keys for other in keys)
    return sorted(keys, key=lambda key: key.count(".")) if nested else None

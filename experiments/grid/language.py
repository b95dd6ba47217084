"""The grid language: a YAML file that says what is varied. Imports no torch.

::

    name: objectives            # the study's folder
    base:                       # a configuration, or the name of a file that holds one
      trainer: {max_steps: 2000}
    product:                    # every combination of these values …
      objective: [rf, shortcut]
      backbone: [dit, u-vit]
    zip:                        # … with these, which go together: the first with the first, and so on
      trainer.batch_size: [64, 128]
      optimizer.lr: [1e-3, 2e-3]
    exclude:                    # without the cells that match all of a condition; a list means any of its values
      - {objective: shortcut, trainer.batch_size: [128]}
    cells:                      # and these besides, one by one
      - {objective: shortcut, objective.k: 0.5}
    seeds: [0, 1, 2]            # all of that for each seed

Keys are dotted places in a configuration and values whatever may stand there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.config import ConfigError, Fault, Raw, parse
from experiments.config.faults import unknown
from experiments.config.reading import Marks, read_text, where
from experiments.errors import UserError
from experiments.grid.values import lay, lookup, same

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Combination:
    """One point of a grid: its values by dotted key, and where the file says each."""

    values: Values
    sources: Mapping[str, str | None]


@dataclass(frozen=True)
class Grid:
    """A grid as it was written; :meth:`combinations` takes it apart."""

    name: str
    base: Raw
    product: Mapping[str, list[Any]]
    zip: Mapping[str, list[Any]]
    cells: list[Values]
    exclude: list[Values]
    seeds: list[int]
    marks: Marks
    source: Path

    def combinations(self) -> list[Combination]:
        """Every point that is not excluded, all of them for the first seed before any for the second.

        Raises:
            ConfigError: a condition names a key or value that no cell has; all cells are excluded.
        """
        points = list(self._points())
        settings = [lay(self.base, point.values).data for point in points]
        faults = list(self._idle_conditions(settings))
        kept = [
            point
            for point, data in zip(points, settings, strict=True)
            if not any(_matches(data, c) for c in self.exclude)
        ]
        if not kept:
            faults.append(
                Fault(
                    ("exclude",), f"all {len(points)} cells are excluded: nothing is left to run", self._at("exclude")
                )
            )
        if faults:
            raise ConfigError(faults)
        if not self.seeds:
            return kept
        told = self._at("seeds")
        return [
            Combination({**point.values, "seed": seed}, {**point.sources, "seed": told})
            for seed in self.seeds
            for point in kept
        ]

    def _points(self) -> Iterator[Combination]:
        rows = [dict(zip(self.zip, row, strict=True)) for row in zip(*self.zip.values(), strict=True)] or [{}]
        if self.product or self.zip or not self.cells:
            sources = {key: self._at("product", key) for key in self.product}
            sources |= {key: self._at("zip", key) for key in self.zip}
            for chosen in itertools.product(*self.product.values()):
                for row in rows:
                    yield Combination({**dict(zip(self.product, chosen, strict=True)), **row}, sources)
        for index, cell in enumerate(self.cells):
            yield Combination(cell, {key: self._at("cells", str(index), key) for key in cell})

    def _idle_conditions(self, settings: list[Mapping[str, Any]]) -> Iterator[Fault]:
        for index, condition in enumerate(self.exclude):
            for key, wanted in condition.items():
                there = [lookup(data, key) for data in settings]
                place = ("exclude", str(index), key)
                if all(value is None for value in there):
                    yield Fault(place, f"no cell of this grid says {key}", self._at(*place))
                    continue
                for one in wanted if isinstance(wanted, list) else [wanted]:
                    if not any(same(value, one) for value in there):
                        allowed = list(dict.fromkeys(_name(value) for value in there))
                        yield Fault(
                            place, unknown(f"value of {key} in this grid", _name(one), allowed), self._at(*place)
                        )

    def _at(self, *key: str) -> str | None:
        return where(self.marks, key)


def read_grid(file: Path) -> Grid:
    """Read a grid file.

    Raises:
        UserError: there is no such file.
        ConfigError: a YAML syntax error or anything that is no grid, with file and line, all faults at once.
    """
    data, marks = read_text(_text(file), str(file))
    reader = _Reader(data, marks)
    fields: dict[str, Any] = {
        "name": reader.take("name", str, file.stem, _is_name, "a name without slashes or blanks"),
        "base": reader.base(file),
        "product": reader.axes("product"),
        "zip": reader.axes("zip"),
        "cells": reader.take("cells", list, [], _are_mappings, "a list of mappings from key to value"),
        "exclude": reader.take("exclude", list, [], _are_mappings, "a list of mappings from key to value or values"),
        "seeds": reader.take("seeds", list, [], _are_seeds, "a list of different whole numbers from 0"),
    }
    reader.finish(fields)
    return Grid(**fields, marks=marks, source=file)


class _Reader:
    """Takes the sections out of a grid file and collects what is wrong with them."""

    def __init__(self, data: Mapping[str, Any], marks: Marks):
        self.data, self.marks, self.faults = data, marks, list[Fault]()

    def fault(self, message: str, *key: str) -> None:
        self.faults.append(Fault(key, message, where(self.marks, key)))

    def take(self, key: str, kind: type, default: Any, legal: Callable[[Any], bool], what: str) -> Any:
        value = self.data.get(key)
        if value is None:
            return default
        if isinstance(value, kind) and legal(value):
            return value
        self.fault(f"{value!r} is not {what}", key)
        return default

    def base(self, file: Path) -> Raw:
        base = self.data.get("base")
        if isinstance(base, str):
            inner = file.parent / base
            return Raw(*read_text(_text(inner), str(inner)))
        if base is not None and not isinstance(base, Mapping):
            self.fault(f"{base!r} is neither a configuration nor the name of a file with one", "base")
            return parse({})
        inside = {key[1:]: mark for key, mark in self.marks.items() if key[0] == "base" and len(key) > 1}
        return Raw(dict(base or {}), inside)

    def axes(self, section: str) -> dict[str, list[Any]]:
        axes = self.data.get(section) or {}
        if not isinstance(axes, Mapping):
            self.fault("this is not a mapping from key to list of values", section)
            return {}
        for key, values in axes.items():
            if not isinstance(values, list) or not values:
                self.fault(f"{values!r} is not a list of values", section, key)
            elif section == "product" and (twice := [v for i, v in enumerate(values) if v in values[:i]]):
                self.fault(f"the value {twice[0]!r} stands here twice", section, key)
        return {key: values for key, values in axes.items() if isinstance(values, list)}

    def finish(self, fields: Mapping[str, Any]) -> None:
        """What concerns several sections; raise all faults."""
        known = list(fields)
        for key in self.data:
            if key not in known:
                self.fault(unknown("key of a grid", key, known), key)
        lengths = {key: len(values) for key, values in fields["zip"].items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{key}: {length}" for key, length in lengths.items())
            self.fault(f"what goes together must be equally long ({told})", "zip")
        for key in fields["product"].keys() & fields["zip"].keys():
            self.fault("this key stands under product too", "zip", key)
        if fields["seeds"]:
            for section in ("product", "zip"):
                if "seed" in fields[section]:
                    self.fault("the seed is varied by `seeds` already", section, "seed")
        if self.faults:
            raise ConfigError(self.faults)


def size(grid: Grid) -> int:
    """How many cells a grid has before anything is excluded."""
    rows = math.prod(map(len, grid.product.values())) * (len(next(iter(grid.zip.values()))) if grid.zip else 1)
    block = rows if grid.product or grid.zip or not grid.cells else 0
    return (block + len(grid.cells)) * max(1, len(grid.seeds))


def _matches(settings: Mapping[str, Any], condition: Values) -> bool:
    return all(
        any(same(lookup(settings, key), one) for one in (wanted if isinstance(wanted, list) else [wanted]))
        for key, wanted in condition.items()
    )


def _name(value: Any) -> str:
    return str(value.get("name", value) if isinstance(value, Mapping) else value)


def _is_name(value: str) -> bool:
    return bool(value) and not any(c.isspace() or c in "/\\" for c in value) and not value.startswith(".")


def _are_mappings(value: list[Any]) -> bool:
    return all(isinstance(item, Mapping) and item for item in value)


def _are_seeds(value: list[Any]) -> bool:
    return all(type(item) is int and item >= 0 for item in value) and len(set(value)) == len(value)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"there is no file {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}") from None

"""From a grid file's text to a Grid: every section checked, every fault with its line, all at once; without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from experiments.config import ConfigError, Raw
from experiments.config.faults import unknown
from experiments.config.raw import SHIPPED
from experiments.config.reading import Marks, read_text
from experiments.grid import conditions
from experiments.grid.blocks import Block
from experiments.grid.language import Grid, ResourceClass
from experiments.grid.ranges import values
from experiments.grid.reading_drawn import check_budget, drawn_axes
from experiments.grid.sheet import Place, Sheet, are_mappings, is_name, is_seed, text_of
from experiments.grid.stages import stage_faults

OWN = ("base", "product", "zip", "one_at_a_time", "random", "quasi_random", "cells", "include", "exclude", "seeds")
IN_GRIDS = (*OWN, "after", "resources")
IN_FILE = ("name", *OWN, "resources", "smoke", "grids")


def read(file: Path) -> Grid:
    """The grid in a file; see :func:`experiments.grid.language.read_grid`."""
    data, marks = read_text(text_of(file), str(file))
    return _Reader(data, marks, file).grid()


class _Reader(Sheet):
    """Makes the grid of a sheet."""

    def grid(self) -> Grid:
        name = self.take((), self.data, "name", self.file.stem, is_name, "a name without slashes or blanks")
        grids = self.mapping((), self.data, "grids")
        if grids:
            shared = ("name", "base", "seeds", "resources", "smoke", "grids")
            for key in self.data:
                if key in OWN and key not in shared:
                    self.fault("the study has several `grids`: this belongs into one of them", key)
            blocks = tuple(self._block(("grids", key), inner, key) for key, inner in grids.items())
        else:
            blocks = (self._block((), self.data, ""),)
        self.known((), self.data, IN_FILE, "key of a grid")
        resources = self._classes()
        smoke = _flat(self.mapping((), self.data, "smoke"))
        base = self._base()
        self.faults += stage_faults(blocks)
        for block in blocks:
            if block.resources is not None and block.resources not in resources:
                told = unknown("class of resources", block.resources, list(resources))
                self.fault(told, *block.place, "resources")
        if self.faults:
            raise ConfigError(self.faults)
        return Grid(name, base, blocks, self.file, resources, smoke)

    # -- the sections of one grid -------------------------------------------------------------------------------

    def _block(self, place: Place, data: Any, name: str) -> Block:
        if not isinstance(data, Mapping):
            self.fault("this is no grid: a mapping with product, zip, cells …", *place)
            return Block(name)
        if place:
            self.known(place, data, IN_GRIDS, "key of a grid")
            if not is_name(name):
                self.fault(f"{name!r} is not a name without slashes or blanks", *place)
        fields: dict[str, Any] = {
            "base": self._own_base(place, data) if place else {},
            "product": self._axes(place, data, "product"),
            "zips": self._zips(place, data),
            "one_at_a_time": self._axes(place, data, "one_at_a_time"),
            "drawn": drawn_axes(self, place, data),
            "cells": self._rows(place, data, "cells"),
            "include": self._conditions(place, data, "include"),
            "exclude": self._conditions(place, data, "exclude"),
            "seeds": self._seeds(place, data),
            "after": self._after(place, data) if place else {},
            "resources": self.take(place, data, "resources", None, is_name, "the name of a class") if place else None,
        }
        block = Block(name, **fields, marks=self.marks, place=place)
        self._alone(block)
        if block.drawn is not None and block.drawn.budget is not None:
            check_budget(self, block, block.drawn.budget)
        return block

    def _axes(self, place: Place, data: Mapping[str, Any], section: str) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for key, written in self.mapping(place, data, section).items():
            listed = self.values(written, *place, section, key)
            if twice := [v for i, v in enumerate(listed) if any(_equal(v, other) for other in listed[:i])]:
                self.fault(f"the value {twice[0]!r} stands here twice", *place, section, key)
            found[key] = listed
        return found

    def _zips(self, place: Place, data: Mapping[str, Any]) -> list[dict[str, list[Any]]]:
        written = data.get("zip") or []
        groups = written if isinstance(written, list) else [written]
        found: list[dict[str, list[Any]]] = []
        for index, group in enumerate(groups):
            at = (*place, "zip", str(index)) if isinstance(written, list) else (*place, "zip")
            if not isinstance(group, Mapping):
                self.fault("this is not a mapping from key to list of values", *at)
                continue
            axes = {key: self.values(values, *at, key) for key, values in group.items()}
            if len({len(listed) for listed in axes.values()}) > 1:
                told = ", ".join(f"{key}: {len(listed)}" for key, listed in axes.items())
                self.fault(f"what goes together must be equally long ({told})", *at)
                continue
            found.append(axes)
        return found

    def _rows(self, place: Place, data: Mapping[str, Any], section: str) -> list[dict[str, Any]]:
        told = "a list of mappings from key to value"
        return self.take(place, data, section, [], lambda v: isinstance(v, list) and are_mappings(v), told)

    def _conditions(self, place: Place, data: Mapping[str, Any], section: str) -> list[dict[str, Any]]:
        found = self._rows(place, data, section)
        for index, condition in enumerate(found):
            for key, message in conditions.faults(condition):
                self.fault(message, *place, section, str(index), key)
        return found

    def _seeds(self, place: Place, data: Mapping[str, Any]) -> list[int]:
        if data.get("seeds") is None:
            if not place:
                return []
            place, data = (), self.data
        written = data.get("seeds")
        if written is None or written == []:
            return []
        try:
            found = values(written)
        except ValueError:
            found: list[Any] = [None]
        if not all(map(is_seed, found)) or len(set(found)) < len(found):
            self.fault(
                f"{written!r} is not a list of different whole numbers from 0, nor such a range", *place, "seeds"
            )
            return []
        return found

    def _after(self, place: Place, data: Mapping[str, Any]) -> dict[str, list[str]]:
        written = data.get("after") or {}
        if isinstance(written, str):
            return {written: []}
        if isinstance(written, list) and all(isinstance(name, str) for name in written):
            return {name: [] for name in written}
        if isinstance(written, Mapping):
            found = {name: [keys] if isinstance(keys, str) else keys or [] for name, keys in written.items()}
            if all(isinstance(keys, list) and all(isinstance(key, str) for key in keys) for keys in found.values()):
                return found
        told = f"{written!r} is not the name of a grid, a list of names, or {{NAME: [keys in which cells agree]}}"
        self.fault(told, *place, "after")
        return {}

    # -- the study's own sections -------------------------------------------------------------------------------

    def _classes(self) -> dict[str, ResourceClass]:
        found: dict[str, ResourceClass] = {}
        for name, written in self.mapping((), self.data, "resources").items():
            if not isinstance(written, Mapping):
                self.fault("this is no class of resources: a mapping such as {cpus: 4, time: 2h}", "resources", name)
                continue
            match = written.get("match") or []
            match = match if isinstance(match, list) else [match]
            if not are_mappings(match):
                self.fault(f"{written['match']!r} is not a condition, nor a list of them", "resources", name, "match")
                continue
            for key, message in (fault for condition in match for fault in conditions.faults(condition)):
                self.fault(message, "resources", name, "match", key)
            found[name] = ResourceClass(match, {key: value for key, value in written.items() if key != "match"})
        return found

    def _base(self) -> Raw:
        data, marks = self._configuration((), self.data)
        return Raw(data, marks)

    def _own_base(self, place: Place, data: Mapping[str, Any]) -> dict[str, Any]:
        return _flat(self._configuration(place, data)[0])

    def _configuration(self, place: Place, data: Mapping[str, Any]) -> tuple[dict[str, Any], Marks]:
        base, at = data.get("base"), (*place, "base")
        if isinstance(base, str):
            beside, shipped = self.file.parent / base, SHIPPED / f"{base}.yaml"
            inner = shipped if not beside.exists() and shipped.is_file() else beside
            return read_text(text_of(inner), str(inner))
        if base is not None and not isinstance(base, Mapping):
            self.fault(f"{base!r} is neither a configuration nor the name of a file with one", *at)
            return {}, {}
        inside = {
            key[len(at) :]: mark for key, mark in self.marks.items() if key[: len(at)] == at and len(key) > len(at)
        }
        return dict(base or {}), inside

    def _alone(self, block: Block) -> None:
        """A key stands in one axis alone, and the seed in none where there are seeds."""
        owner: dict[str, str] = {}
        for section, axes in _sections(block):
            for key in axes:
                if key in owner:
                    self.fault(f"this key stands under {owner[key]} too", *block.place, section, key)
                owner.setdefault(key, section)
                if key == "seed" and block.seeds:
                    self.fault("the seed is varied by `seeds` already", *block.place, section, key)


def _sections(block: Block) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "product", block.product
    for group in block.zips:
        yield "zip", group
    yield "one_at_a_time", block.one_at_a_time
    if block.drawn is not None:
        yield "random" if block.drawn.sequence == "random" else "quasi_random", block.drawn.axes


def _flat(data: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """A nested configuration as dotted keys; a mapping with a name is a plugin, and one value."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping) and value and "name" not in value:
            found |= _flat(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = value
    return found


def _equal(a: Any, b: Any) -> bool:
    return a == b and isinstance(a, bool) == isinstance(b, bool)

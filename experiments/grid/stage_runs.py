"""Cells that build on another: their teacher, what they start from, or what makes their pairs is the cell of an earlier
stage that agrees with them, or a run of its own. Neither torch nor a file of the run is needed while the stage is not
planned.

A cell names the stage, ``teacher: {stage: teachers}``; which keys have to agree is said by its grid's ``after``. What
is planned is the other cell's hash, so that a cell is another run when its teacher is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import other_runs
from experiments.config import Config, ConfigError, Fault, Raw, RunWeights
from experiments.config.faults import unknown
from experiments.config.schema import RUNS
from experiments.grid.blocks import Block, Combination
from experiments.grid.layers import Layers
from experiments.grid.stages import agreeing

if TYPE_CHECKING:
    from experiments.grid.planning import Planned

UNKNOWN = {"name": "a cell of an earlier stage", "hash": "0" * 12}
"""What stands for a run while it is not known which."""


@dataclass(frozen=True)
class Asked:
    """A stage that a point names under "teacher", "start" or "pairs", and where the file says so."""

    key: str
    stage: str
    written: Mapping[str, Any]
    where: str | None

    def fault(self, message: str) -> ConfigError:
        return ConfigError([Fault((self.key, "stage"), message, self.where)])


def asked(point: Combination, layers: Layers) -> list[Asked]:
    """The stages that a point names."""
    found: list[Asked] = []
    laid = layers.of(point)
    for key in RUNS:
        layer = laid.get(key)
        written = layer.raw.data[key] if layer is not None else None
        if layer is not None and isinstance(written, Mapping) and written.get("stage") is not None:
            found.append(Asked(key, str(written["stage"]), written, layer.raw.where((key, "stage"))))
    return found


class StageRuns:
    """Finds the runs that a grid's cells build on.

    Args:
        base: what all points are laid over.
        members: the cells of each grid that is planned already, by its name and their hashes.
        value: what a cell's resolved configuration says at a key, as a text that equal values share.
    """

    def __init__(self, base: Raw, members: Mapping[str, Mapping[str, Planned]], value: Callable[[Planned, str], str]):
        self._base, self._members, self._value = base, members, value
        self._groups: dict[tuple[str, str], dict[tuple[str, ...], list[Planned]]] = {}
        self._written: dict[str, dict[str, Any]] = {}
        self._faults: dict[tuple[Any, ...], list[Fault]] = {}
        self._places: dict[RunWeights, str] = {}
        self._kept: list[Config] = []  # sections are told apart by their identity, which is theirs while they live

    def unknown(self, point: Combination, wanted: Sequence[Asked]) -> Combination:
        """The point before it is known which runs these are."""
        for one in wanted:
            rest = {name: item for name, item in one.written.items() if name not in ("stage", "run", "name", "hash")}
            point = self._with(point, one, {**rest, **UNKNOWN})
        return point

    def known(self, point: Combination, wanted: Sequence[Asked], own: Planned, block: Block) -> Combination:
        """The point with the runs that it builds on; ``own`` is the cell that it would be without them.

        Raises:
            ConfigError: the grid does not wait for that stage; none or several of its cells agree; the cell cannot
                build on the one that does.
        """
        faults: list[Fault] = []
        self._kept.append(own.config)
        for one in wanted:
            other = self._agreeing(one, own, block)
            weights: RunWeights = getattr(own.config, one.key)
            faults += self._mismatches(one, own.config, other)
            run = {**_told(weights, f"../{other.cell.run}"), "hash": other.cell.hash, "stage": one.stage}
            point = self._with(point, one, run)
        if faults:
            raise ConfigError(faults)
        return point

    def placed(self, point: Combination, config: Config, wanted: Sequence[Asked]) -> Combination:
        """The point with the runs that it names by their folders (not ``wanted``) told in full: any process finds them.

        Raises:
            ConfigError: there is no such run, or the cell cannot build on it. It need not be done yet.
        """
        stages = {one.key for one in wanted}
        for key in RUNS:
            named: RunWeights | None = getattr(config, key)
            if named is None or key in stages:
                continue
            self._kept.append(config)
            told = [at for name, at in point.sources.items() if name.partition(".")[0] == key]
            source = told[0] if told else self._base.where((key,))
            if faults := self._named(config, key):
                raise ConfigError([replace(fault, where=fault.where or source) for fault in faults])
            if named not in self._places:
                self._places[named] = os.path.abspath(other_runs.find(named) or Path(named.run))
            point = self._with(point, Asked(key, "", {}, source), _told(named, self._places[named]))
        return point

    def _with(self, point: Combination, one: Asked, run: dict[str, Any]) -> Combination:
        """The point with a run under a key; equal runs are one object, as layers of equal values are."""
        run = self._written.setdefault(repr(sorted(run.items(), key=lambda item: item[0])), run)
        values = {key: value for key, value in point.values.items() if key.partition(".")[0] != one.key}
        return replace(point, values={**values, one.key: run}, sources={**point.sources, one.key: one.where})

    def _agreeing(self, one: Asked, own: Planned, block: Block) -> Planned:
        if one.stage not in block.after:
            if one.stage not in self._members or one.stage == block.name:
                raise one.fault(unknown("earlier stage", one.stage, list(block.after)))
            keys = f"after: {{{one.stage}: [the keys in which a cell and its {one.key} agree]}}"
            raise one.fault(f"this grid does not wait for {one.stage}: it needs {keys}")
        keys, place = block.after[one.stage], (block.name, one.stage)
        if place not in self._groups:
            self._groups[place] = agreeing(list(self._members[one.stage].values()), keys, self._value)
        wanted = tuple(self._value(own, key) for key in keys)
        found = self._groups[place].get(wanted, [])
        if len(found) == 1:
            return found[0]
        told = (
            ", ".join(f"{key}={text}" for key, text in zip(keys, wanted, strict=True)) or "anything (no key is named)"
        )
        if not found:
            raise one.fault(f"no cell of the grid {one.stage} agrees in {told}")
        names = ", ".join(repr(other.cell.name) for other in found[:3]) + (", …" if len(found) > 3 else "")
        raise one.fault(
            f"{len(found)} cells of the grid {one.stage} agree in {told} ({names}): `after` has to name the keys that "
            "leave one"
        )

    def _mismatches(self, one: Asked, config: Config, other: Planned) -> list[Fault]:
        wanted = replace(getattr(config, one.key), run="", hash="")
        place = (one.key, *_sections(config), wanted, *_sections(other.config), one.where)
        if place not in self._faults:
            found = other_runs.mismatches(config, one.key, other.config, f"the cell {other.cell.name!r}")
            self._faults[place] = [replace(fault, where=one.where) for fault in found]
        return self._faults[place]

    def _named(self, config: Config, key: str) -> list[Fault]:
        place = (key, *_sections(config), getattr(config, key))
        if place not in self._faults:
            self._faults[place] = list(other_runs.faults(config, key, finished=False))
        return self._faults[place]


def _told(named: RunWeights, folder: str) -> dict[str, Any]:
    """What a cell's values say of another run, which is in ``folder``."""
    return {"name": folder, **{option: value for option, value in named.plain().items() if option != "run"}}


def _sections(config: Config) -> Iterator[int]:
    """What decides whether one configuration can build on another."""
    return iter((id(config.objective), id(config.backbone), id(config.data), id(config.ema)))

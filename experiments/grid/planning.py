"""From a grid to the plan of its cells. Making one imports the plugins, hence torch; reading one does not."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from experiments.config import Config, ConfigError, Fault, Raw, parse, read, resolve
from experiments.config.many import Resolver
from experiments.config.schema import PLUGINS
from experiments.errors import UserError
from experiments.grid.blocks import Block, Combination
from experiments.grid.contents import changed, contents
from experiments.grid.language import Grid
from experiments.grid.layers import Layers
from experiments.grid.resources import Classes
from experiments.grid.sources import code_fingerprint
from experiments.grid.stage_runs import StageRuns, asked
from experiments.grid.stages import in_turn, needs
from experiments.grid.study import Cell, Study
from experiments.grid.values import label, lay, lookup
from experiments.runs import evaluation_key


@dataclass(frozen=True)
class Planned:
    """A cell with the configuration that it stands for."""

    cell: Cell
    config: Config
    point: Combination


def configure(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> Config:
    """The configuration of a planned cell."""
    return resolve(lay(parse(base, "the study's plan"), overrides))


def plan(grid: Grid) -> list[Cell]:
    """The cells of :func:`survey`."""
    return [planned.cell for planned in survey(grid)]


def survey(grid: Grid) -> list[Planned]:
    """Every cell of a grid, resolved and checked, the first seed of all before the second of any.

    Raises:
        ConfigError: faults of the grid or of any cell's configuration, each once, with file and line.
        UserError: two cells are the same run.
    """
    layers = Layers(grid.base)
    points = grid.combinations(layers)
    classes, resolved, naming = Classes(grid, layers, points), _Resolved(grid.base, layers), _Naming(grid, points)
    found: dict[str, Planned] = {}
    members: dict[str, dict[str, Planned]] = {block.name: {} for block in grid.blocks}
    runs = StageRuns(grid.base, members, _Values().of)
    places: dict[str, int] = {}
    faults: list[Fault] = []
    for block in in_turn(grid.blocks):
        for place, point in enumerate(points):
            if point.block != block.name:
                continue
            try:
                told = naming.name(point), classes.of(point)
                planned = resolved.plan(point, *told, runs, None if faults else block)
            except ConfigError as error:
                faults += error.faults
                continue
            other = found.setdefault(planned.cell.hash, planned)
            if other is not planned and not _joins(grid, other, planned):
                raise UserError(_same_run(other.cell, planned.cell, point))
            members[point.block][planned.cell.hash] = other
            places.setdefault(planned.cell.hash, place)
    if faults:
        raise ConfigError(faults)
    staged = _staged(grid, list(found.values()), members)
    return sorted(staged, key=lambda planned: (planned.cell.seed, places[planned.cell.hash]))


def prepare(grid: Grid, study: Study) -> None:
    """Bring the study's cells.json in step with the grid."""
    key = plan_key(grid)
    if study.plan is None or study.plan["key"] != key or changed(study.plan.get("contents", [])):
        planned = survey(grid)
        facts = {"name": grid.name, "source": str(grid.source), "base": dict(grid.base.data), "resources": grid.asks()}
        if held := contents(one.config for one in planned):
            facts["contents"] = held
        study.write_plan([one.cell for one in planned], key=key, **facts)


def vary_base(grid: Grid, overrides: Sequence[str]) -> Grid:
    """The grid with ``key=value`` overrides laid over its base.

    Raises:
        UserError: the grid itself varies such a key: the override would be without effect.
    """
    base = grid.base
    for text in overrides:
        key = text.partition("=")[0]
        for axis in sorted(grid.varied):
            if f"{axis}.".startswith(f"{key}.") or f"{key}.".startswith(f"{axis}."):
                raise UserError(f"override {text}: the grid {grid.source} varies {axis} itself")
        base = base.override({key: lookup(read(None, [text]).data, key)}, f"override {text}")
    return replace(grid, base=base)


def plan_key(grid: Grid) -> str:
    """Says whether a plan made before still holds: the grid as it was written, and the code."""
    written = repr((grid.base.data, grid.blocks, grid.resources, grid.name))
    return hashlib.sha256(f"{code_fingerprint()} {written}".encode()).hexdigest()


class _Resolved:
    """Points as configurations and cells; what cells share is computed once."""

    def __init__(self, base: Raw, layers: Layers):
        self._base, self._layers, self._resolver = base, layers, Resolver()
        self._alone = "${" in repr(base.data)  # an interpolation may lead from any section into any other
        self._words: dict[tuple[Any, ...], str] = {}
        self._keys: dict[int, tuple[Any, str]] = {}

    def config(self, point: Combination) -> tuple[Config, str]:
        if self._alone or any("${" in value for value in point.values.values() if isinstance(value, str)):
            config = resolve(lay(self._base, point.values, point.sources))
            return config, config.hash
        return self._resolver.resolve({key: layer.raw for key, layer in self._layers.of(point).items()})

    def plan(self, point: Combination, name: str, resources: str, runs: StageRuns, block: Block | None) -> Planned:
        """The cell of a point; without its ``block`` a point that builds on an earlier stage is not told on which run.

        Raises:
            ConfigError: faults of its configuration, or of what it builds on.
        """
        wanted = asked(point, self._layers)
        known = runs.unknown(point, wanted)
        config, digest = self.config(known)
        if wanted and block is not None:
            known = runs.known(point, wanted, self._planned(name, known, config, digest, resources), block)
            config, digest = self.config(known)
        known = runs.placed(known, config, wanted)
        return self._planned(name, known, config, digest, resources)

    def _planned(self, name: str, point: Combination, config: Config, digest: str, resources: str) -> Planned:
        return Planned(self._cell(name, point, config, digest, resources), config, point)

    def _cell(self, name: str, point: Combination, config: Config, digest: str, resources: str) -> Cell:
        return Cell(
            name=name,
            hash=digest,
            run=f"{self._run_words(config)}-{digest}",
            evaluation=self._evaluation(config),
            objective=config.objective.label,
            backbone=config.backbone.label,
            data=config.data.label,
            seed=config.seed,
            max_steps=config.trainer.max_steps,
            overrides=dict(point.values),
            grid=point.block,
            resources=resources,
        )

    def _run_words(self, config: Config) -> str:
        place = (id(config.objective), id(config.backbone), id(config.data), config.name)
        if place not in self._words or self._alone:
            self._words[place] = config.run_words
        return self._words[place]

    def _evaluation(self, config: Config) -> str:
        found = self._keys.get(id(config.evaluation))
        if found is None or found[0] is not config.evaluation:
            found = self._keys[id(config.evaluation)] = config.evaluation, evaluation_key(config.evaluation)
        return found[1]


class _Naming:
    """Names points by the values that tell the cells of their grid apart, in the order of the file, the seed last."""

    def __init__(self, grid: Grid, points: Sequence[Combination]):
        self._fallback, self._several = grid.name, len(grid.blocks) > 1
        self._keys = {
            block.name: _varied([point for point in points if point.block == block.name]) for block in grid.blocks
        }
        self._labels: dict[tuple[str, int], str] = {}

    def name(self, point: Combination) -> str:
        words = [self._label(key, point.values[key]) for key in self._keys[point.block] if key in point.values]
        if self._several:
            words.insert(0, f"{point.block}:")
        return " ".join(words) or self._fallback

    def _label(self, key: str, value: Any) -> str:
        place = (key, id(value))
        if place not in self._labels:
            self._labels[place] = label(key, value)
        return self._labels[place]


def _varied(points: Sequence[Combination]) -> list[str]:
    keys = list(dict.fromkeys(key for point in points for key in point.values))
    distinct = {key: {id(value): value for value in (point.values.get(key) for point in points)} for key in keys}
    told = [key for key in keys if len({repr(value) for value in distinct[key].values()}) > 1]
    return sorted(told, key=lambda key: key == "seed")


def _joins(grid: Grid, first: Planned, second: Planned) -> bool:
    """Whether a second cell that is the same run is the first one again, and not a value without effect.

    One factor at a time comes back to the baseline, and two grids of a study may share a cell if neither waits or both
    are cut down to what is alike: such a cell waits for what either does.
    """
    if first.cell.grid == second.cell.grid:
        return second.point.around and first.config == second.config
    blocks = [grid.block(planned.cell.grid) for planned in (first, second)]
    shared = all(block.alike for block in blocks) or not any(block.after for block in blocks)
    return shared and first.config == second.config


def _same_run(first: Cell, second: Cell, point: Combination) -> str:
    keys = [k for k in {**first.overrides, **second.overrides} if first.overrides.get(k) != second.overrides.get(k)]
    where = ", ".join(dict.fromkeys(source for source in map(point.sources.get, keys) if source)) or "the grid"
    return f"{where}: the cells {first.name!r} and {second.name!r} are the same run ({first.hash}): " + (
        f"{', '.join(keys)} make no difference to it" if keys else "they are written alike"
    )


def _staged(grid: Grid, found: list[Planned], members: Mapping[str, Mapping[str, Planned]]) -> list[Planned]:
    """The cells with what they have to wait for; ``members`` are the cells of each grid."""
    waiting: dict[str, set[str]] = {}
    value = _Values().of
    for block in grid.blocks:
        cells = {name: list(members[name].values()) for name in (block.name, *block.after)}
        for planned, others in zip(cells[block.name], needs(block, cells, value), strict=True):
            if others:
                waiting.setdefault(planned.cell.hash, set()).update(other.cell.hash for other in others)
    return [
        replace(one, cell=replace(one.cell, needs=sorted(waiting[one.cell.hash]))) if one.cell.hash in waiting else one
        for one in found
    ]


class _Values:
    """What resolved configurations say at a key, as texts that equal values share."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], str] = {}

    def of(self, planned: Planned, key: str) -> str:
        section, _, rest = key.partition(".")
        value = getattr(planned.config, section, None)
        place = (id(value), key)
        if place not in self._known:
            self._known[place] = re.sub(r"\s+", " ", str(self._text(planned.config, section, rest)))
        return self._known[place]

    def _text(self, config: Config, section: str, rest: str) -> Any:
        if section in PLUGINS and not rest:
            return getattr(config, section).identity()
        return lookup(config.plain(), f"{section}.{rest}" if rest else section)

"""From a grid to the plan of its cells. Making one imports the plugins, hence torch; reading one does not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.config import Config, ConfigError, Fault, parse, read, resolve
from experiments.errors import UserError
from experiments.grid.language import Combination, Grid
from experiments.grid.sources import code_fingerprint
from experiments.grid.study import Cell, Study
from experiments.grid.values import label, lay, lookup
from experiments.runs import evaluation_key


def configure(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> Config:
    """The configuration of a planned cell."""
    return resolve(lay(parse(base, "the study's plan"), overrides))


def plan(grid: Grid) -> list[Cell]:
    """Every cell of a grid, resolved and checked, the first seed of all before the second of any.

    Raises:
        ConfigError: faults of the grid or of any cell's configuration, each once, with file and line.
        UserError: two cells are the same run.
    """
    points = grid.combinations()
    varied = _varied(points)
    cells: dict[str, Cell] = {}
    faults: list[Fault] = []
    for point in points:
        name = " ".join(label(key, point.values[key]) for key in varied if key in point.values) or grid.name
        try:
            config = resolve(lay(grid.base, point.values, point.sources))
        except ConfigError as error:
            faults += error.faults
            continue
        cell = _cell(name, point, config)
        other = cells.setdefault(config.hash, cell)
        if other is not cell:
            raise UserError(_same_run(other, cell, point))
    if faults:
        raise ConfigError(faults)
    return sorted(cells.values(), key=lambda cell: cell.seed)


def planned(grid: Grid, study: Study) -> list[Cell]:
    """The cells of a grid, from the study's cells.json if that was made from the same grid by the same code."""
    key = plan_key(grid)
    if study.plan is not None and study.plan["key"] == key:
        return study.cells
    return plan(grid)


def prepare(grid: Grid, study: Study) -> None:
    """Bring the study's cells.json in step with the grid."""
    key = plan_key(grid)
    if study.plan is None or study.plan["key"] != key:
        cells = plan(grid)
        study.write_plan(cells, key=key, name=grid.name, source=str(grid.source), base=dict(grid.base.data))


def vary_base(grid: Grid, overrides: Sequence[str]) -> Grid:
    """The grid with ``key=value`` overrides laid over its base.

    Raises:
        UserError: the grid itself varies such a key: the override would be without effect.
    """
    axes = {*grid.product, *grid.zip, *(key for cell in grid.cells for key in cell), *(["seed"] if grid.seeds else [])}
    base = grid.base
    for text in overrides:
        key = text.partition("=")[0]
        for axis in sorted(axes):
            if f"{axis}.".startswith(f"{key}.") or f"{key}.".startswith(f"{axis}."):
                raise UserError(f"override {text}: the grid {grid.source} varies {axis} itself")
        base = base.override({key: lookup(read(None, [text]).data, key)}, f"override {text}")
    return replace(grid, base=base)


def plan_key(grid: Grid) -> str:
    """Says whether a plan made before still holds: the grid as it was written, and the code."""
    written = repr((grid.base.data, grid.product, grid.zip, grid.cells, grid.exclude, grid.seeds, grid.name))
    return hashlib.sha256(f"{code_fingerprint()} {written}".encode()).hexdigest()


def _cell(name: str, point: Combination, config: Config) -> Cell:
    return Cell(
        name=name,
        hash=config.hash,
        run=config.run_name,
        evaluation=evaluation_key(config.evaluation),
        objective=config.objective.label,
        backbone=config.backbone.label,
        data=config.data.label,
        seed=config.seed,
        max_steps=config.trainer.max_steps,
        overrides=dict(point.values),
    )


def _varied(points: Sequence[Combination]) -> list[str]:
    """The keys whose values tell the cells apart, in the order of the file; the seed comes last."""
    keys = list(dict.fromkeys(key for point in points for key in point.values))
    told = [key for key in keys if len({repr(point.values.get(key)) for point in points}) > 1]
    return sorted(told, key=lambda key: key == "seed")


def _same_run(first: Cell, second: Cell, point: Combination) -> str:
    keys = [k for k in {**first.overrides, **second.overrides} if first.overrides.get(k) != second.overrides.get(k)]
    where = ", ".join(dict.fromkeys(source for source in map(point.sources.get, keys) if source)) or "the grid"
    return f"{where}: the cells {first.name!r} and {second.name!r} are the same run ({first.hash}): " + (
        f"{', '.join(keys)} make no difference to it" if keys else "they are written alike"
    )

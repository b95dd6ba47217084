"""A grid cut down to show that it runs: each value of each axis once, two steps, a tiny evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.grid.blocks import Block, Combination
from experiments.grid.conditions import seen
from experiments.grid.language import Grid
from experiments.grid.layers import Layers
from experiments.grid.resources import DEFAULT
from experiments.grid.stage_runs import asked
from experiments.grid.values import lookup

SUFFIX = "-smoke"
SETTINGS: Mapping[str, Any] = {
    "trainer.max_steps": 2,
    "trainer.checkpoint_every": 2,
    "trainer.keep_checkpoints": 1,
    "trainer.validation_num": 64,
    "evaluation.num": 8,
    "evaluation.batch_size": 8,
}
"""What every cell is cut to, whatever its grid varies."""
PAIRS = 8
"""Pairs that are made for a cell that trains on such."""


def smoke(grid: Grid) -> Grid:
    """The grid as explicit cells, as few as hold every value of every axis once, for one seed, under another name.

    Every cell is trained for two steps and evaluated at the smallest of its step counts with eight samples and 64
    validation rows, in a study of its own (NAME-smoke); the file's ``smoke`` section is laid over every cell besides,
    to make networks small. Cells that are alike after that are one, and all ask for the default resources. Of a grid
    whose cells others build on (``teacher: {stage: …}``) all stay, so that each finds its own.

    Raises:
        ConfigError: as :meth:`Grid.combinations`.
    """
    layers = Layers(grid.base)
    forced = {**SETTINGS, **grid.smoke}
    firsts = [replace(block, seeds=block.seeds[:1]).points(layers) for block in grid.blocks]
    built_on = {one.stage for points in firsts for point in points for one in asked(point, layers)}
    chosen = [
        points if block.name in built_on else _covering(points)
        for block, points in zip(grid.blocks, firsts, strict=True)
    ]
    cut = [[_cut(point, layers, forced) for point in points] for points in chosen]
    everywhere = _everywhere([point for points in cut for point in points])
    base = grid.base.override(everywhere, "--smoke")
    marks = dict(grid.blocks[0].marks)
    blocks: list[Block] = []
    for block, points in zip(grid.blocks, cut, strict=True):
        place = (*block.place, "cells")
        cells: list[Mapping[str, Any]] = []
        for point in {repr(sorted(layers.settings(point).items())): point for point in points}.values():
            told = (*place, str(len(cells)))
            marks |= {(*told, key): mark for key, mark in point.sources.items() if mark is not None}
            cells.append({key: value for key, value in point.values.items() if key not in everywhere})
        after = {name: keys if name in built_on else [] for name, keys in block.after.items()}
        blocks.append(Block(block.name, cells=cells, alike=True, after=after, marks=marks, place=block.place))
    resources = {name: replace(one, match=[]) for name, one in grid.resources.items() if name == DEFAULT}
    name = f"{grid.name}{SUFFIX}"
    return replace(grid, name=name, base=base, blocks=tuple(blocks), resources=resources, smoke={})


def _covering(points: Sequence[Combination]) -> list[Combination]:
    """Few points that together have every value of every key: always the one with most values not yet seen."""
    wanted = [{(key, repr(value)) for key, value in point.values.items()} for point in points]
    missing: set[tuple[str, str]] = set().union(*wanted)
    chosen: list[int] = []
    while missing:
        best = max(range(len(points)), key=lambda index: len(wanted[index] & missing))
        missing -= wanted[best]
        chosen.append(best)
    return [points[index] for index in sorted(chosen)]


def _cut(point: Combination, layers: Layers, forced: Mapping[str, Any]) -> Combination:
    """A point with what is forced on it."""
    values = {key: value for key, value in point.values.items() if not _under(key, forced)}
    if "evaluation.steps" not in forced:
        steps = seen(layers.settings(point), "evaluation.steps")
        values["evaluation.steps"] = [min(map(int, steps))] if isinstance(steps, list) else steps
    if "pairs.num" not in forced and lookup(layers.settings(point), "pairs") is not None:
        values["pairs.num"] = PAIRS
    return replace(point, values={**values, **forced})


def _everywhere(points: Sequence[Combination]) -> dict[str, Any]:
    """The values that all points share and that may stand in the base: no point says anything above or below them."""
    first, *others = points
    keys = {key for point in points for key in point.values}
    return {
        key: value
        for key, value in first.values.items()
        if all(key in point.values and point.values[key] == value for point in others)
        and not any(key != other and (_under(key, [other]) or _under(other, [key])) for other in keys)
    }


def _under(key: str, others: Iterable[str]) -> bool:
    """Whether a key is one of the others, or stands below one."""
    return any(f"{key}.".startswith(f"{other}.") for other in others)

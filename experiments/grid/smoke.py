"""A grid cut down to show that it runs: each value of each axis once, two steps, a tiny evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.grid.blocks import Block, Combination
from experiments.grid.conditions import seen
from experiments.grid.language import Grid
from experiments.grid.layers import Layers
from experiments.grid.resources import DEFAULT

SUFFIX = "-smoke"
SETTINGS: Mapping[str, Any] = {
    "trainer.max_steps": 2,
    "trainer.checkpoint_every": 2,
    "trainer.keep_checkpoints": 1,
    "evaluation.num": 8,
    "evaluation.batch_size": 8,
}
"""What every cell is cut to, whatever its grid varies."""


def smoke(grid: Grid) -> Grid:
    """The grid as explicit cells, as few as hold every value of every axis once, for one seed, under another name.

    Every cell is trained for two steps and evaluated at the smallest of its step counts with eight samples, in a study
    of its own (NAME-smoke); the file's ``smoke`` section is laid over every cell besides, to make networks small.
    Cells that are alike after that are one, and all ask for the default resources.

    Raises:
        ConfigError: as :meth:`Grid.combinations`.
    """
    layers = Layers(grid.base)
    forced = {**SETTINGS, **grid.smoke}
    marks = dict(grid.blocks[0].marks)
    blocks: list[Block] = []
    for block in grid.blocks:
        points = replace(block, seeds=block.seeds[:1]).points(layers)
        place = (*block.place, "cells")
        cells: list[Mapping[str, Any]] = []
        for point in _distinct(_covering(points), layers, forced):
            told = (*place, str(len(cells)))
            marks |= {(*told, key): mark for key, mark in point.sources.items() if mark is not None}
            cells.append(dict(point.values))
        blocks.append(
            Block(block.name, cells=cells, after={name: [] for name in block.after}, marks=marks, place=block.place)
        )
    resources = {name: replace(one, match=[]) for name, one in grid.resources.items() if name == DEFAULT}
    return replace(grid, name=f"{grid.name}{SUFFIX}", blocks=tuple(blocks), resources=resources, smoke={})


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


def _distinct(points: Sequence[Combination], layers: Layers, forced: Mapping[str, Any]) -> list[Combination]:
    """The points with what is forced on them, each that is left different once."""
    found: dict[str, Combination] = {}
    for point in points:
        values = {key: value for key, value in point.values.items() if not _under(key, forced)}
        steps = seen(layers.settings(point), "evaluation.steps")
        fewest = {"evaluation.steps": [min(map(int, steps))] if isinstance(steps, list) else steps}
        cut = replace(point, values={**values, **forced, **{k: v for k, v in fewest.items() if k not in forced}})
        found.setdefault(repr(sorted(layers.settings(cut).items())), cut)
    return list(found.values())


def _under(key: str, forced: Mapping[str, Any]) -> bool:
    """Whether a key is one of those that are forced, or stands below one."""
    return any(f"{key}.".startswith(f"{other}.") for other in forced)

"""Stages: cells that wait for the cells of another grid of the study. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from experiments.config import ConfigError, Fault
from experiments.config.faults import unknown
from experiments.grid.blocks import Block

C = TypeVar("C")


def stage_faults(blocks: Sequence[Block]) -> Iterator[Fault]:
    """Names that are no grid's, and grids that wait for one another."""
    after = {block.name: list(block.after) for block in blocks}
    for block in blocks:
        for name in block.after:
            others = [other for other in after if other != block.name]
            if name not in others:
                told = "a grid cannot wait for itself" if name == block.name else unknown("grid", name, others)
                yield Fault((*block.place, "after"), told, block.at("after"))
        circle = _circle(block.name, after)
        if circle and block.name == min(circle):
            told = f"the grids wait for one another: {' after '.join([*circle, circle[0]])}"
            yield Fault((*block.place, "after"), told, block.at("after"))


def _circle(start: str, after: Mapping[str, list[str]]) -> list[str]:
    """A way from a grid over those that it waits for back to itself, or []."""
    ways = [[start]]
    visited: set[str] = set()
    while ways:
        way = ways.pop()
        for name in after.get(way[-1], ()):
            if name == start and len(way) > 1:
                return way
            if name not in visited and name in after:
                visited.add(name)
                ways.append([*way, name])
    return []


def needs(block: Block, cells: Mapping[str, Sequence[C]], value: Callable[[C, str], str]) -> list[list[C]]:
    """For each of a grid's cells the cells that have to be done before it.

    Args:
        cells: of this grid and of those that it waits for, by the grids' names.
        value: what a cell's resolved configuration says at a key, as a text that equal values share.

    Raises:
        ConfigError: a cell agrees with no cell of a grid that it waits for.
    """
    own = cells[block.name]
    found: list[list[C]] = [[] for _ in own]
    for name, keys in block.after.items():
        groups = agreeing(cells[name], keys, value)
        for place, cell in enumerate(own):
            wanted = tuple(value(cell, key) for key in keys)
            if wanted not in groups:
                told = ", ".join(f"{key}={text}" for key, text in zip(keys, wanted, strict=True))
                message = f"no cell of the grid {name} agrees in {told}"
                raise ConfigError([Fault((*block.place, "after"), message, block.at("after"))])
            found[place] += groups[wanted]
    return found


def agreeing(cells: Sequence[C], keys: Sequence[str], value: Callable[[C, str], str]) -> dict[tuple[str, ...], list[C]]:
    """The cells that say the same at all keys, by what they say."""
    groups: dict[tuple[str, ...], list[C]] = {}
    for cell in cells:
        groups.setdefault(tuple(value(cell, key) for key in keys), []).append(cell)
    return groups


def in_turn(blocks: Sequence[Block]) -> list[Block]:
    """The grids, each after those that it waits for; otherwise as they stand in the file."""
    by_name, found = {block.name: block for block in blocks}, dict[str, Block]()

    def take(block: Block) -> None:
        for name in block.after:
            if name not in found:
                take(by_name[name])
        found.setdefault(block.name, block)

    for block in blocks:
        take(block)
    return list(found.values())

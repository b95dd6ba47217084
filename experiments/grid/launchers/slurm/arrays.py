"""Which cells go together into one array."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from experiments.config import parse
from experiments.config.faults import unknown
from experiments.errors import UserError
from experiments.grid.launchers.slurm.resources import Resources
from experiments.grid.launchers.slurm.script import Array
from experiments.grid.study import Cell, Study
from experiments.grid.values import lay, lookup

LONGEST = 1000
"""Tasks in one array: as many as SLURM allows unless its administrator sets another ``MaxArraySize``."""


def arrays(study: Study, cells: Sequence[Cell], classes: Mapping[str, Resources]) -> list[Array]:
    """Put cells into arrays by stage, class of resources and number of processes; the earlier stages first.

    Inside an array the cells keep the study's order, which is the order in which SLURM starts them.

    Raises:
        UserError: a cell asks for a class that the study has not.
    """
    stages, groups = _stages(cells), dict[tuple[int, str, int, int], list[Cell]]()
    for cell in cells:
        if cell.resources not in (*classes, "default"):
            raise UserError(f"{cell.name}: {unknown('class of resources', cell.resources, list(classes))}")
        nodes, devices = _processes(study, cell, classes.get(cell.resources, Resources()))
        groups.setdefault((stages[cell.hash], cell.resources, nodes, devices), []).append(cell)
    found = []
    for (stage, name, nodes, devices), members in sorted(groups.items(), key=lambda item: item[0]):
        asked = classes.get(name, Resources())
        for start in range(0, len(members), LONGEST):
            label = _label(name, stage, f"{nodes}x{devices}" if _several(groups, stage, name) else "", start)
            found.append(Array(label, stage, name, asked, nodes, devices, members[start : start + LONGEST]))
    return found


def _stages(cells: Sequence[Cell]) -> dict[str, int]:
    """How many of these cells must be done, one after another, before each of them can run."""
    by_hash, found = {cell.hash: cell for cell in cells}, dict[str, int]()

    def stage(hash: str) -> int:
        if hash not in found:
            needs = [need for need in by_hash[hash].needs if need in by_hash]
            found[hash] = 1 + max(map(stage, needs), default=-1)
        return found[hash]

    for hash in by_hash:
        stage(hash)
    return found


def _processes(study: Study, cell: Cell, asked: Resources) -> tuple[int, int]:
    """Machines, and processes on each, that train a cell: as its class says, or else as its configuration does."""
    written = lay(parse(study.base), {k: v for k, v in cell.overrides.items() if k.startswith("trainer")})
    nodes, devices = lookup(written.data, "trainer.nodes"), lookup(written.data, "trainer.devices")
    return asked.nodes or nodes or 1, asked.gpus_per_node or devices or 1


def _several(groups: Mapping[tuple[int, str, int, int], object], stage: int, name: str) -> bool:
    return sum(key[:2] == (stage, name) for key in groups) > 1


def _label(name: str, stage: int, processes: str, start: int) -> str:
    """default, big-stage2, big-2x4, default-part2"""
    parts = [re.sub(r"\W+", "_", name)]
    parts += [f"stage{stage + 1}"] if stage else []
    parts += [processes] if processes else []
    parts += [f"part{start // LONGEST + 1}"] if start else []
    return "-".join(parts)

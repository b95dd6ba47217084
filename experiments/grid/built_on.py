"""The runs that a plan's cells build on, as configurations: cells of the plan, or runs of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from experiments.config import Config, RunWeights
from experiments.errors import UserError
from experiments.grid.planning import Planned
from experiments.other_runs import find
from experiments.runs import Run


class BuiltOn:
    """Teachers and flows of the cells of a plan."""

    def __init__(self, planned: Sequence[Planned]):
        self._known: dict[str, Config | None] = {one.cell.hash: one.config for one in planned}
        self._sets = Counter(one.config.pairs for one in planned if one.config.pairs is not None)

    def teacher(self, config: Config) -> Config | None:
        """The configuration of a cell's teacher; None where it has none, or nobody knows it here."""
        return self._run(config.teacher)

    def flow(self, config: Config) -> Config | None:
        """The configuration of the run whose flow makes a cell's pairs; None as of :meth:`teacher`."""
        return self._run(config.pairs)

    def sharing(self, config: Config) -> int:
        """How many of the cells are trained on the pairs of this one."""
        return max(1, self._sets[config.pairs]) if config.pairs is not None else 1

    def place(self, config: Config) -> tuple[object, ...]:
        """What tells apart cells that are alike otherwise: the networks that they build on, and their pairs."""
        teacher, pairs = self.teacher(config), config.pairs
        return id(teacher.backbone) if teacher else 0, pairs

    def _run(self, other: RunWeights | None) -> Config | None:
        if other is None:
            return None
        if other.hash not in self._known:
            self._known[other.hash] = _read(other)
        return self._known[other.hash]


def _read(other: RunWeights) -> Config | None:
    folder = find(other)
    try:
        return Run(folder).config if folder is not None else None
    except UserError:
        return None

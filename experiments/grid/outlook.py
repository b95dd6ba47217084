"""What running a grid would do to its study: what is done already, what is new, what would be cancelled. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.grid.states import CellState
from experiments.grid.study import Cell, Study

NEW, CHANGED = "new", "changed"


@dataclass(frozen=True)
class Outlook:
    """The cells with their states, in the order of the plan, and the cells that the grid has no more.

    A cell that the study has not yet is ``new``, or ``changed`` where a cell of that name was another run before.
    """

    cells: list[tuple[Cell, str, int]]
    gone: list[tuple[Cell, CellState]]

    @property
    def done(self) -> set[str]:
        """Hashes of the cells that are done."""
        return {cell.hash for cell, state, _ in self.cells if state == "done"}

    @property
    def cancelled(self) -> list[Cell]:
        """What would be cancelled: not done, and no more in the grid."""
        return [cell for cell, state in self.gone if state.state not in ("done", "cancelled")]


def outlook(cells: Sequence[Cell], study: Study) -> Outlook:
    """Compare a plan with what is in the study's folder."""
    if study.plan is None:
        return Outlook([(cell, NEW, 0) for cell in cells], [])
    seen = study.look()
    before = {(cell.grid, cell.name) for cell in study.cells}
    rows: list[tuple[Cell, str, int]] = []
    for cell in cells:
        state = study.state(cell, seen)
        name = state.state
        if name == "pending" and study.cell(cell.hash) is None:
            name = CHANGED if (cell.grid, cell.name) in before else NEW
        rows.append((cell, name, state.step))
    here = {cell.hash for cell in cells}
    gone = [(cell, study.state(cell, seen)) for cell in study.cells if cell.hash not in here]
    return Outlook(rows, gone)

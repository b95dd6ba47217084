"""What every row of a study is compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.config.faults import unknown
from experiments.errors import UserError
from experiments.report.read import Cell, Study

Row = tuple[str, str, str, str]
"""What seeds have in common: objective, backbone, data, variant."""

FACTORS = ("objective", "backbone", "data", "variant")


@dataclass(frozen=True)
class Baseline:
    """``of`` each row the row that it is compared with, None where there is none; ``reason`` says how it was chosen."""

    reason: str
    of: Mapping[Row, Row | None]

    def __contains__(self, row: Row) -> bool:
        return self.of.get(row) == row


def choose(study: Study, given: Sequence[str] = ()) -> Baseline:
    """The baselines of all rows; each is on its row's own data set.

    Args:
        study: the study.
        given: labels (``rf``, ``dit``) or a cell's name. A label fixes the baseline's objective, backbone or variant;
            what no label fixes is the row's own. Nothing: the row that changes least of the grid's base, the first
            such in the plan.

    Raises:
        UserError: for a label that no row has.
    """
    rows: dict[Row, Cell] = {}
    for cell in study.cells:
        rows.setdefault(cell.row, cell)
    if not rows:
        return Baseline("The grid has no cells.", {})
    if given:
        fixed = _fixed(study, rows, given)
        found: dict[Row, Row | None] = {}
        for row in rows:
            wanted = _with(row, fixed)
            found[row] = wanted if wanted in rows else None
        told = ", ".join(f"{FACTORS[at]} {label or '(none)'}" for at, label in sorted(fixed.items()))
        return Baseline(f"as asked: {told}; all else as in the row that is compared", found)
    least: dict[str, Row] = {}
    for row, cell in rows.items():
        if row[2] not in least or _changes(cell) < _changes(rows[least[row[2]]]):
            least[row[2]] = row
    names = "; ".join(" ".join(filter(None, row)) for row in least.values())
    return Baseline(f"{names}: the first row that changes least of the base", {row: least[row[2]] for row in rows})


def comparable(metric: str, one: Cell, other: Cell) -> bool:
    """Whether a difference in this metric says which is better: a loss is the head's own, in its own units."""
    return metric != "validation_loss" or loss_kind(one) == loss_kind(other)


def loss_kind(cell: Cell) -> str:
    """What the validation loss is an error of: path and head, or where these are not recorded the objective."""
    objective = cell.config.get("objective")
    flow = objective.get("flow", objective) if isinstance(objective, Mapping) else None
    if not isinstance(flow, Mapping) or not {"path", "head"} <= flow.keys():
        return cell.labels["objective"]
    return json.dumps([flow["path"], flow["head"]], sort_keys=True, default=str)


def _fixed(study: Study, rows: Mapping[Row, Any], given: Sequence[str]) -> dict[int, str]:
    fixed: dict[int, str] = {}
    named = {cell.name.lower(): cell.row for cell in study.cells}
    labels = {(at, row[at].lower()): row[at] for row in rows for at in (0, 1, 3)}
    for text in given:
        at = next((at for at in (0, 1, 3) if (at, text.lower()) in labels), None)
        if at is not None:
            fixed[at] = labels[at, text.lower()]
        elif text.lower() in named:
            row = named[text.lower()]
            fixed |= {at: row[at] for at in (0, 1, 3)}
        else:
            known = list(dict.fromkeys([*filter(None, labels.values()), *(cell.name for cell in study.cells)]))
            raise UserError(f"--baseline: {unknown('row', text, known)}")
    return fixed


def _with(row: Row, fixed: Mapping[int, str]) -> Row:
    objective, backbone, data, variant = (fixed.get(at, label) for at, label in enumerate(row))
    return objective, backbone, data, variant


def _changes(cell: Cell) -> int:
    return len(cell.overrides.keys() - {"seed", "data"})

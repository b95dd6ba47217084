"""What compute and size buy: power laws of the validation loss, loss of quality at few steps, path lengths."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.report.baseline import Row
from experiments.report.read import Cell, Study
from experiments.report.rows import Rows
from experiments.report.statistics import Estimate, PowerLaw, Summary, fit_power_law, summarise
from experiments.report.tables import MORE_IS_BETTER, Table

AHEAD = 10.0
"""How far beyond the most compute a law is carried on."""
REFERENCE = 50
"""Steps that fewer ones are compared with, where they were evaluated; else the most that were."""

Tables = Mapping[tuple[str, str], Table]


@dataclass(frozen=True)
class Point:
    """A row: its mean loss at its training compute in FLOPs, and what the law says there (nan without a law)."""

    row: Row
    compute: float
    loss: float
    predicted: float = math.nan

    @property
    def residual(self) -> float:
        """(loss − predicted)/loss."""
        return (self.loss - self.predicted) / self.loss


@dataclass(frozen=True)
class Ahead:
    """The law at an amount of compute, with the 95 % interval of one further run there."""

    compute: float
    loss: float
    low: float
    high: float


@dataclass(frozen=True)
class Law:
    """L = a·C^−b + c of the validation loss of one objective, backbone and data set under one setting.

    ``curve`` goes from the least compute to ten times the most. Without a law ``note`` says why.
    """

    setting: str
    data: str
    objective: str
    backbone: str
    points: tuple[Point, ...]
    a: float = math.nan
    b: Estimate | None = None
    c: Estimate | None = None
    error: float = math.nan
    curve: tuple[Ahead, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Efficiency:
    """How much worse a row's metric is at fewer steps: ``relative[n]`` is over seeds of (m_n − m_ref)/|m_ref|.

    The sign is such that more is worse; 0.04 is four per cent. Source: Esser et al. 2024, table 6.
    """

    row: Row
    setting: str
    metric: str
    reference: int
    parameters: int | None
    relative: Mapping[int, Summary]
    note: str = ""


@dataclass(frozen=True)
class Length:
    """The path length of a row's samples, over seeds."""

    row: Row
    setting: str
    parameters: int | None
    summary: Summary


def laws(study: Study, rows: Rows, tables: Tables) -> tuple[Law, ...]:
    """A law for every objective, family of backbones and data set of which the rows' compute differs."""
    cells = _first_cells(study)
    found: list[Law] = []
    for setting in rows.settings:
        table = tables.get((setting, "validation_loss"))
        groups: dict[tuple[str, str, str], list[Point]] = {}
        for line in table.lines if table else ():
            compute = known(rows, line.cells, setting, "training_flops")
            loss = line.summaries[0].mean if line.summaries else math.nan
            if compute and math.isfinite(loss):
                place = (line.row[2], line.row[0], _family(cells[line.row]))
                groups.setdefault(place, []).append(Point(line.row, float(compute), loss))
        found += [
            _law(setting, *place, points) for place, points in groups.items() if len({p.compute for p in points}) > 1
        ]
    return tuple(found)


def efficiency(study: Study, rows: Rows, tables: Tables) -> tuple[Efficiency, ...]:
    """Of the headline distances, for every row that was evaluated at several numbers of steps."""
    found: list[Efficiency] = []
    for setting in rows.settings:
        for metric in rows.headline:
            table = tables[setting, metric]
            for line in table.lines:
                steps = [n for n, s in zip(table.steps, line.summaries, strict=True) if s.n or s.not_finite]
                if len(steps) > 1:
                    reference = REFERENCE if REFERENCE in steps else max(steps)
                    found.append(_efficiency(rows, line.cells, setting, metric, steps, reference))
    return tuple(sorted(found, key=lambda one: (one.setting, one.metric, one.parameters or 0)))


def path_lengths(rows: Rows, tables: Tables) -> tuple[Length, ...]:
    """Of every row, the smallest model first; empty where the metric ``path_length`` was not evaluated."""
    found = [
        Length(line.row, table.setting, _parameters(rows, line.cells, table.setting), line.summaries[0])
        for table in tables.values()
        if table.metric == "path_length"
        for line in table.lines
        if line.summaries and (line.summaries[0].n or line.summaries[0].not_finite)
    ]
    return tuple(sorted(found, key=lambda one: (one.setting, one.parameters or 0)))


def _law(setting: str, data: str, objective: str, backbone: str, points: Sequence[Point]) -> Law:
    computes = [point.compute for point in points]
    fit = fit_power_law(computes, [point.loss for point in points])
    if isinstance(fit, str):
        return Law(setting, data, objective, backbone, tuple(points), note=fit)
    at = np.geomspace(min(computes), AHEAD * max(computes), 60).tolist()
    told = tuple(Point(point.row, point.compute, point.loss, fit.at(point.compute)) for point in points)
    curve = tuple(Ahead(compute, fit.at(compute), *fit.next_run(compute)) for compute in at)
    return Law(setting, data, objective, backbone, told, fit.a, fit.b, fit.c, fit.error, curve, _doubts(fit))


def _doubts(fit: PowerLaw) -> str:
    return "The points do not know the floor: its interval reaches below 0." if fit.c.low < 0 else ""


def _efficiency(
    rows: Rows, cells: Sequence[Cell], setting: str, metric: str, steps: Sequence[int], reference: int
) -> Efficiency:
    sign = -1 if metric in MORE_IS_BETTER else 1

    def worse(cell: Cell, n: int) -> float | None:
        own, best = (rows.value(cell, setting, at, metric) for at in (n, reference))
        if own is None or best is None:
            return None
        return sign * (own - best) / abs(best) if best else math.nan

    relative = {
        n: summarise([worse(cell, n) for cell in cells], expected=len(cells), seeds=[cell.seed for cell in cells])
        for n in steps
        if n < reference
    }
    bad = any(summary.not_finite for summary in relative.values())
    note = "Some seeds have no finite number there, or 0 at the reference." if bad else ""
    return Efficiency(cells[0].row, setting, metric, reference, _parameters(rows, cells, setting), relative, note)


def _parameters(rows: Rows, cells: Sequence[Cell], setting: str) -> int | None:
    found = known(rows, cells, setting, "parameters")
    return None if found is None else int(found)


def known(rows: Rows, cells: Sequence[Cell], setting: str, column: str) -> float | None:
    """What seeds have in common, from the first row that tells it."""
    return next(_values(rows, cells, setting, column), None)


def _values(rows: Rows, cells: Sequence[Cell], setting: str, column: str) -> Iterator[float]:
    for cell in cells:
        for n in rows.steps(setting):
            value = rows.value(cell, setting, n, column)
            if value is not None:
                yield value


def _family(cell: Cell) -> str:
    backbone = cell.config.get("backbone")
    return str(backbone["name"]) if isinstance(backbone, Mapping) and "name" in backbone else cell.labels["backbone"]


def _first_cells(study: Study) -> dict[Row, Cell]:
    found: dict[Row, Cell] = {}
    for cell in study.cells:
        if cell.row not in found or (cell.config and not found[cell.row].config):
            found[cell.row] = cell
    return found

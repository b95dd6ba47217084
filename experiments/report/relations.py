"""Whether the validation loss tells the other metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from experiments.report.rows import MEASURED, Rows
from experiments.report.statistics import Estimate, correlate
from experiments.report.statistics.correlation import LEAST
from experiments.report.tables import Line, Table


@dataclass(frozen=True)
class Relation:
    """Correlation of the validation loss with a metric over the rows of one data set, each row the mean of its seeds.

    ``steps`` is None for a number of the model; ``objective`` is None where rows of all objectives are taken together,
    whose losses are each in their own units.
    """

    setting: str
    steps: int | None
    data: str
    objective: str | None
    metric: str
    n: int
    pearson: Estimate
    spearman: Estimate
    note: str = ""


def relations(rows: Rows, tables: Mapping[tuple[str, str], Table]) -> tuple[Relation, ...]:
    """Of every setting, number of steps, data set and metric: over all objectives, and within each that has enough."""
    found: list[Relation] = []
    for setting in rows.settings:
        losses = tables.get((setting, "validation_loss"))
        if losses is None:
            continue
        loss = {line.row: line.summaries[0].mean for line in losses.lines if line.summaries}
        for metric in (name for name in rows.metrics if name not in MEASURED):
            found += _of_metric(tables[setting, metric], loss)
    return tuple(found)


def _of_metric(table: Table, loss: Mapping[tuple[str, ...], float]) -> Iterator[Relation]:
    columns = list(enumerate(table.steps))[: 1 if table.of_model else None]
    for data, objective, lines in _groups(table.lines):
        for at, n in columns:
            pairs = [(loss.get(line.row, math.nan), line.summaries[at].mean) for line in lines]
            pairs = [pair for pair in pairs if all(map(math.isfinite, pair))]
            if len(pairs) >= LEAST:
                found = correlate(*zip(*pairs, strict=True))
                steps = None if table.of_model else n
                told = (found.n, found.pearson, found.spearman, found.note)
                yield Relation(table.setting, steps, data, objective, table.metric, *told)


def _groups(lines: Sequence[Line]) -> Iterator[tuple[str, str | None, list[Line]]]:
    """(data, objective, lines): all objectives of a data set (None), and each that is not all there is."""
    sets: dict[str, dict[str, list[Line]]] = {}
    for line in lines:
        sets.setdefault(line.row[2], {}).setdefault(line.row[0], []).append(line)
    for data, objectives in sets.items():
        yield data, None, [line for own in objectives.values() for line in own]
        if len(objectives) > 1:
            yield from ((data, objective, own) for objective, own in objectives.items() if len(own) >= LEAST)

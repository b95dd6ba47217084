"""All that the report says of a study beyond its numbers, in one place for every form that it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.report.baseline import Baseline, choose
from experiments.report.ranking import Ranking, rank
from experiments.report.read import Study
from experiments.report.relations import Relation, relations
from experiments.report.rows import Rows
from experiments.report.scaling import Efficiency, Law, Length, efficiency, laws, path_lengths
from experiments.report.statistics.coverage import MEASURED, Coverage
from experiments.report.tables import Table, table


@dataclass(frozen=True)
class Analysis:
    """The statistics of a study. What is not defined is nan, None or empty, and its ``note`` says why."""

    baseline: Baseline
    tables: Mapping[tuple[str, str], Table]
    ranking: Ranking
    correlations: tuple[Relation, ...]
    power_laws: tuple[Law, ...]
    efficiency: tuple[Efficiency, ...]
    path_lengths: tuple[Length, ...]
    coverage: tuple[Coverage, ...] = MEASURED
    notes: tuple[str, ...] = ()

    @property
    def tightening(self) -> float:
        """The median over all comparisons of the paired interval's width over the unpaired one's; nan without any."""
        widths = sorted(
            difference.tightening
            for found in self.tables.values()
            for line in found.lines
            for difference in line.differences
            if difference is not None and math.isfinite(difference.tightening)
        )
        middle = len(widths) // 2
        return (widths[middle] + widths[~middle]) / 2 if widths else math.nan


def analyse(study: Study, rows: Rows, *, baseline: Sequence[str] = (), ranked: Sequence[str] = ()) -> Analysis:
    """Every statistic of the report.

    Args:
        study: the study.
        rows: its numbers.
        baseline: labels of the rows to compare with; see :func:`experiments.report.baseline.choose`.
        ranked: metrics of the global rank; see :func:`experiments.report.ranking.rank`.

    Raises:
        UserError: for a baseline or a metric that the study does not have.
    """
    chosen = choose(study, baseline)
    tables = {
        (setting, metric): table(study, rows, setting=setting, metric=metric, baseline=chosen)
        for setting in rows.settings
        for metric in rows.metrics
    }
    return Analysis(
        chosen,
        tables,
        rank(study, rows, tables, ranked),
        relations(rows, tables),
        laws(study, rows, tables),
        efficiency(study, rows, tables),
        path_lengths(rows, tables),
        notes=tuple(_notes(study, rows, chosen)),
    )


def _notes(study: Study, rows: Rows, baseline: Baseline) -> list[str]:
    found = []
    alone = sum(other is None for other in baseline.of.values())
    if alone:
        found.append(f"{alone} of {len(baseline.of)} rows have no baseline: no row differs from them in that alone.")
    evaluated = {row["cell"] for row in rows if row["setting"] is not None}
    unknown = evaluated - {row["cell"] for row in rows if row["training_flops"] is not None}
    if unknown:
        found.append(
            f"{len(unknown)} of {len(study.cells)} cells were evaluated before FLOPs were recorded and are in no power "
            "law; `fewstep evaluate RUN` records them."
        )
    if any(len(line) < 2 for line in _seeds(study)):
        found.append("Some rows have one seed: they have no interval, and nothing can be said of chance.")
    return found


def _seeds(study: Study) -> list[list[int | None]]:
    groups: dict[tuple[str, ...], list[int | None]] = {}
    for cell in study.cells:
        groups.setdefault(cell.row, []).append(cell.seed)
    return list(groups.values())

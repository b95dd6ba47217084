"""The statistics of a study as the page's data: rows by their index, what is undefined as None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from experiments.report.analysis import Analysis
from experiments.report.baseline import Row
from experiments.report.curves import rounded
from experiments.report.rows import Rows
from experiments.report.statistics import Difference, Estimate, Summary
from experiments.report.tables import better


def page_statistics(analysis: Analysis, rows: Rows, labels: Sequence[Row]) -> dict[str, Any]:
    """Differences as [mean, low, high, seeds, adjusted p, significant, better, tightening], all else by name.

    Args:
        analysis: the study's.
        rows: its numbers, for the order of settings and metrics.
        labels: of the page's rows, in its order.
    """
    at = {label: index for index, label in enumerate(labels)}
    baseline = [analysis.baseline.of.get(label) for label in labels]
    return {
        "baseline": {"reason": analysis.baseline.reason, "of": [other and at.get(other) for other in baseline]},
        "tightening": rounded(analysis.tightening),
        "differences": [[_differences(analysis, s, m) for m in rows.metrics] for s in rows.settings],
        "ranking": _ranking(analysis),
        "correlations": [
            {**_named(relation, "setting", "steps", "data", "objective", "metric", "n", "note"),
             "pearson": _estimate(relation.pearson), "spearman": _estimate(relation.spearman)}
            for relation in analysis.correlations
        ],
        "laws": [
            {**_named(law, "setting", "data", "objective", "backbone", "note"), "a": rounded(law.a),
             "b": _estimate(law.b), "c": _estimate(law.c), "error": rounded(law.error),
             "points": [[at.get(p.row), *map(rounded, (p.compute, p.loss, p.predicted))] for p in law.points],
             "curve": [list(map(rounded, (p.compute, p.loss, p.low, p.high))) for p in law.curve]}
            for law in analysis.power_laws
        ],
        "efficiency": [
            {**_named(one, "setting", "metric", "reference", "parameters", "note"), "row": at.get(one.row),
             "relative": [[n, *_summary(summary)] for n, summary in one.relative.items()]}
            for one in analysis.efficiency
        ],
        "lengths": [
            {**_named(one, "setting", "parameters"), "row": at.get(one.row), "length": _summary(one.summary)}
            for one in analysis.path_lengths
        ],
        "coverage": [asdict(one) for one in analysis.coverage],
        "notes": list(analysis.notes),
    }  # fmt: skip


def _differences(analysis: Analysis, setting: str, metric: str) -> list[list[list[Any] | None]]:
    lines = analysis.tables[setting, metric].lines
    return [[_difference(metric, difference) for difference in line.differences] for line in lines]


def _difference(metric: str, found: Difference | None) -> list[Any] | None:
    if found is None or found.n == 0:
        return None
    ends = [rounded(value) for value in (found.mean, found.low, found.high)]
    told = [found.n, rounded(found.adjusted), found.significant, better(metric, found), rounded(found.tightening)]
    return ends + told


def _ranking(analysis: Analysis) -> dict[str, Any]:
    found = analysis.ranking
    steps = list(dict.fromkeys(control.steps for control in found.controls))
    lines = [
        {"labels": list(line.labels), "n": line.n, "ends": [rounded(line.low), rounded(line.high)],
         "rank": rounded(line.rank), "by_steps": [rounded(line.by_steps.get(n)) for n in steps]}
        for line in found.lines
    ]  # fmt: skip
    return {
        "metrics": list(found.metrics), "controls": len(found.controls), "steps": steps, "lines": lines,
        "note": found.note,
    }  # fmt: skip


def _named(found: object, *names: str) -> Mapping[str, Any]:
    return {name: getattr(found, name) for name in names}


def _estimate(found: Estimate | None) -> list[float | None] | None:
    return found and [rounded(found.value), rounded(found.low), rounded(found.high)]


def _summary(found: Summary) -> list[float | None]:
    low, high = found.interval() or (None, None)
    return [rounded(found.mean), rounded(low), rounded(high)]

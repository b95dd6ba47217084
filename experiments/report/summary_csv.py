"""summary.csv: one line for each row × setting × metric × steps, with every statistic over its seeds."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator
from typing import Any

from experiments.report.analysis import Analysis
from experiments.report.baseline import FACTORS
from experiments.report.statistics import Difference, Interval, Summary

_OF_SEEDS = ("n", "planned", "missing_seeds", "not_finite_seeds", "mean", "std", "low", "high")
_BOOTSTRAPPED = ("bca_low", "bca_high", "iqm", "iqm_low", "iqm_high")
_COMPARED = ("pairs", "difference", "difference_low", "difference_high", "p", "p_holm", "significant", "tightening")
COLUMNS = (*FACTORS, "setting", "metric", "steps", *_OF_SEEDS, *_BOOTSTRAPPED, "baseline", *_COMPARED, "note")


def summary_csv(found: Analysis) -> str:
    """All means, intervals and differences; nothing stands for what is not defined, and ``note`` says why."""
    text = io.StringIO()
    writer: csv.DictWriter[str] = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_lines(found))
    return text.getvalue()


def _lines(found: Analysis) -> Iterator[dict[str, Any]]:
    for table in found.tables.values():
        columns = list(enumerate(table.steps))[: 1 if table.of_model else None]
        for line in table.lines:
            baseline = found.baseline.of.get(line.row)
            named = " ".join(filter(None, baseline)) if baseline else ""
            for at, n in columns:
                place = {"setting": table.setting, "metric": table.metric, "steps": "" if table.of_model else n}
                told = {**dict(zip(FACTORS, line.row, strict=True)), **place, "baseline": named}
                yield told | _of_seeds(line.summaries[at]) | _compared(line.differences[at])


def _of_seeds(summary: Summary) -> dict[str, Any]:
    ends = (_ends(summary.interval()), _ends(summary.bootstrap()), _ends(summary.iqm_interval()))
    (low, high), (bca_low, bca_high), (iqm_low, iqm_high) = ends
    counts = (summary.n, summary.expected, _seeds(summary.missing), _seeds(summary.broken))
    first = zip(_OF_SEEDS, (*counts, *_known(summary.mean, summary.std, low, high)), strict=True)
    second = zip(_BOOTSTRAPPED, _known(bca_low, bca_high, summary.iqm, iqm_low, iqm_high), strict=True)
    return {**dict(first), **dict(second)}


def _compared(difference: Difference | None) -> dict[str, Any]:
    if difference is None:
        return {}
    d = difference
    tested = "" if math.isnan(d.adjusted) else str(d.significant).lower()
    numbers = (*_known(d.mean, d.low, d.high, d.p, d.adjusted), tested, *_known(d.tightening))
    return {**dict(zip(_COMPARED, (d.n, *numbers), strict=True)), "note": d.note}


def _ends(interval: Interval | None) -> Interval:
    return interval or (math.nan, math.nan)


def _known(*values: float) -> list[Any]:
    return ["" if math.isnan(value) else value for value in values]


def _seeds(seeds: Iterable[int | None]) -> str:
    return " ".join("none" if seed is None else str(seed) for seed in seeds)

"""SD3's global rank of a study's rows: non-dominated sorting under every control, averaged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.errors import UserError
from experiments.report.baseline import Row
from experiments.report.rank import fronts_by_control
from experiments.report.read import Study
from experiments.report.rows import Rows
from experiments.report.statistics import Summary
from experiments.report.tables import MORE_IS_BETTER, ONE_IS_BEST, Table

Tables = Mapping[tuple[str, str], Table]
Method = tuple[str, str, str]
"""What is ranked: objective, backbone, variant; data sets are controls."""


@dataclass(frozen=True)
class Control:
    """One setting under which all are compared."""

    setting: str
    steps: int
    data: str


@dataclass(frozen=True)
class Ranked:
    """One method: the mean of its fronts over ``n`` controls.

    ``low`` and ``high`` are its least and greatest rank over the seeds, each seed ranked by itself; nan unless two
    seeds have every number. ``by_steps`` is the mean over the controls of one number of steps.
    """

    labels: Method
    rank: float
    n: int
    low: float
    high: float
    by_steps: Mapping[int, float]


@dataclass(frozen=True)
class Ranking:
    """All methods, the best first; those that lack a control come last, for their means are over other controls."""

    metrics: tuple[str, ...]
    controls: tuple[Control, ...]
    lines: tuple[Ranked, ...]
    note: str = ""


def rank(study: Study, rows: Rows, tables: Tables, metrics: Sequence[str] = ()) -> Ranking:
    """The global rank of every objective × backbone × variant by the means over seeds.

    A mean over seeds of which one is not finite is the worst there can be; a method without a number under a control
    is not sorted there. Fewer than two methods have no rank.

    Args:
        study: the study.
        rows: its numbers.
        tables: one for each setting and metric.
        metrics: what is sorted by. By default the first distance and precision: as in the paper, one number of the
            whole distribution and one of the single sample.

    Raises:
        UserError: for a metric that the study does not have.
    """
    for name in metrics:
        if name not in rows.metrics:
            from experiments.config.faults import unknown

            raise UserError(f"--rank: {unknown('metric', name, rows.metrics)}")
    chosen = tuple(dict.fromkeys(metrics)) or (*rows.headline[:1], *(n for n in ("precision",) if n in rows.metrics))
    methods = list(dict.fromkeys((cell.row[0], cell.row[1], cell.row[3]) for cell in study.cells))
    sets = dict.fromkeys(cell.labels["data"] for cell in study.cells)
    controls = [Control(setting, n, data) for setting in rows.settings for n in rows.steps(setting) for data in sets]
    summaries = _summaries(tables, chosen)
    fronts = fronts_by_control(_costs(methods, controls, chosen, summaries, None))
    used = np.asarray(~np.isnan(fronts).all(0))
    controls, fronts = [control for control, kept in zip(controls, used, strict=True) if kept], fronts[:, used]
    if not chosen or len(methods) < 2 or not controls:
        return Ranking(chosen, (), (), "Nothing to rank: it takes two rows and a distance.")
    seeds = _seeds(study)
    single = [
        ranks for seed in seeds
        if (ranks := _complete(_costs(methods, controls, chosen, summaries, seed), fronts)) is not None
    ]  # fmt: skip
    ends = [(min(own), max(own)) if len(single) > 1 else (math.nan, math.nan) for own in _columns(single, methods)]
    steps = np.array([control.steps for control in controls])
    lines = [
        Ranked(
            method, _mean(front), int((~np.isnan(front)).sum()), *end,
            {int(n): _mean(front[steps == n]) for n in dict.fromkeys(steps.tolist())},
        )
        for method, front, end in zip(methods, fronts, ends, strict=True)
    ]  # fmt: skip
    lines.sort(key=lambda line: (line.n < len(controls), math.isnan(line.rank), line.rank))
    short = sum(line.n < len(controls) for line in lines)
    note = f"{short} of {len(lines)} rows lack some of the {len(controls)} controls and come last." if short else ""
    return Ranking(chosen, tuple(controls), tuple(lines), note)


def _summaries(tables: Tables, metrics: Sequence[str]) -> dict[tuple[str, str, int, Row], Summary]:
    return {
        (table.setting, table.metric, n, line.row): summary
        for table in tables.values()
        if table.metric in metrics
        for line in table.lines
        for n, summary in zip(table.steps, line.summaries, strict=True)
    }


def _costs(
    methods: Sequence[Method],
    controls: Sequence[Control],
    metrics: Sequence[str],
    summaries: Mapping[tuple[str, str, int, Row], Summary],
    seed: int | None,
) -> NDArray[np.float64]:
    """(methods, controls, metrics), nan where there is no number: means, or the values of one seed."""
    costs = np.full((len(methods), len(controls), len(metrics)), np.nan)
    for i, (objective, backbone, variant) in enumerate(methods):
        for j, control in enumerate(controls):
            row = (objective, backbone, control.data, variant)
            for k, metric in enumerate(metrics):
                found = summaries.get((control.setting, metric, control.steps, row))
                if found is not None:
                    costs[i, j, k] = _cost(metric, found if seed is None else found.of(seed))
    return costs


def _cost(metric: str, summary: Summary) -> float:
    if summary.not_finite:
        return math.inf
    if metric in ONE_IS_BEST:
        return abs(summary.mean - 1)
    return -summary.mean if metric in MORE_IS_BETTER else summary.mean


def _complete(costs: NDArray[np.float64], fronts: NDArray[np.float64]) -> list[float] | None:
    """The ranks of one seed, None where it lacks a number that the means have."""
    own = fronts_by_control(costs)
    return None if (np.isnan(own) & ~np.isnan(fronts)).any() else [_mean(front) for front in own]


def _columns(single: Sequence[Sequence[float]], methods: Sequence[Method]) -> list[tuple[float, ...]]:
    return list(zip(*single, strict=True)) if single else [()] * len(methods)


def _mean(fronts: NDArray[np.float64]) -> float:
    known = fronts[~np.isnan(fronts)]
    return float(known.mean()) if len(known) else math.nan


def _seeds(study: Study) -> list[int]:
    return sorted({cell.seed for cell in study.cells if cell.seed is not None})

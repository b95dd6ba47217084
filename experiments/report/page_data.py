"""What the page is drawn from: a study and its numbers as plain data, small enough to stand in the page as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.report import tables
from experiments.report.analysis import Analysis
from experiments.report.curves import loss_at_times, rounded, training_curves
from experiments.report.facts import training_seconds
from experiments.report.page_statistics import page_statistics
from experiments.report.read import FACTORS, Cell, Study, call, plain
from experiments.report.rows import Rows
from experiments.report.scaling import known
from experiments.report.statistics import Summary


@dataclass(frozen=True)
class Group:
    """A row of the page: cells that differ in their seed alone."""

    labels: tuple[str, str, str, str]
    cells: tuple[int, ...]
    note: str


def page_data(study: Study, rows: Rows, analysis: Analysis) -> dict[str, Any]:
    """Everything that the page shows, but for the pictures.

    Rows, settings, metrics and numbers of steps are told by their index; a summary is [mean, standard deviation, lower
    and upper end of the 95 % interval, seeds that count, seeds planned, seeds not finite], with None for what is not
    defined; None in its place is a cell without a number.
    """
    at = {cell: index for index, cell in enumerate(study.cells)}
    lines = tables.table(study, rows, setting="", metric="").lines
    groups = [Group(line.cells[0].row, tuple(at[cell] for cell in line.cells), line.note) for line in lines]
    cells = [[study.cells[at] for at in group.cells] for group in groups]
    shared, own = _configs(study.cells)
    return {
        "name": study.name,
        "settings": rows.settings,
        "steps": [rows.steps(setting) for setting in rows.settings],
        "metrics": [_metric(name, rows) for name in rows.metrics],
        "headline": rows.metrics.index(rows.headline[0]) if rows.headline else 0,
        "factors": _factors(study, groups),
        "rows": [_row(study, rows, group) for group in groups],
        "values": [[_summaries(analysis.tables[s, metric]) for metric in rows.metrics] for s in rows.settings],
        "nfe": [_nfe(study, rows, groups, setting) for setting in rows.settings],
        "statistics": page_statistics(analysis, rows, [group.labels for group in groups]),
        "curves": training_curves(cells),
        "times": loss_at_times(cells),
        "shared": shared,
        "cells": [_cell(cell, config) for cell, config in zip(study.cells, own, strict=True)],
    }


def _metric(name: str, rows: Rows) -> dict[str, Any]:
    full = tables.name(name)
    short = full.split(":")[0].removesuffix(" to the training split")
    return {
        "key": name, "name": full, "short": short.replace(" to the held-out split", ", held-out"),
        "goal": "more" if name in tables.MORE_IS_BETTER else "one" if name in tables.ONE_IS_BEST else "less",
        "unit": "s" if name.startswith("seconds") else "", "of_model": name in rows.of_model,
    }  # fmt: skip


def _factors(study: Study, groups: Sequence[Group]) -> list[dict[str, Any]]:
    """What varies over the rows: the three parts, then the other keys of the grid; one value for each row."""
    first = [study.cells[group.cells[0]] for group in groups]
    keys = dict.fromkeys(key for cell in first for key in cell.overrides if key not in (*FACTORS, "seed"))
    found = [{"key": key, "values": [cell.labels[key] for cell in first]} for key in FACTORS]
    found += [
        {
            "key": key,
            "values": [call(cell.overrides[key]) if key in cell.overrides else "as the base" for cell in first],
        }
        for key in keys
    ]
    return [factor for factor in found if len(set(factor["values"])) > 1]


def _row(study: Study, rows: Rows, group: Group) -> dict[str, Any]:
    cells = [study.cells[at] for at in group.cells]
    seconds = [spent for cell in cells if (spent := training_seconds(cell)) > 0]
    flops = (known(rows, cells, setting, "training_flops") for setting in rows.settings)
    return {
        "labels": list(group.labels),
        "cells": list(group.cells),
        "note": group.note,
        "seconds": rounded(sum(seconds) / len(seconds)) if seconds else None,
        "flops": rounded(next((float(value) for value in flops if value is not None), None)),
    }


def _summaries(table: tables.Table) -> list[list[list[Any] | None]]:
    return [[_summary(summary) for summary in line.summaries] for line in table.lines]


def _summary(summary: Summary) -> list[Any] | None:
    if summary.n == 0 and not summary.not_finite:
        return None
    low, high = summary.interval() or (None, None)
    ends = [rounded(value) for value in (summary.mean, summary.std, low, high)]
    return [*ends, summary.n, summary.expected, summary.not_finite]


def _nfe(study: Study, rows: Rows, groups: Sequence[Group], setting: str) -> list[list[float | None]]:
    """Network evaluations for each row and number of steps, which the seeds of a row share."""

    def first(group: Group, steps: int) -> float | None:
        values = (rows.value(study.cells[at], setting, steps, "nfe") for at in group.cells)
        return next((value for value in values if value is not None), None)

    return [[first(group, steps) for steps in rows.steps(setting)] for group in groups]


def _cell(cell: Cell, config: Mapping[str, str]) -> dict[str, Any]:
    known = {
        "name": cell.name, "seed": cell.seed, "state": cell.state, "step": cell.step, "max_steps": cell.max_steps,
        "message": cell.message, "run": cell.path.name if cell.path else None,
        "overrides": {key: plain(value) for key, value in cell.overrides.items()}, "config": config,
    }  # fmt: skip
    return {key: value for key, value in known.items() if value not in (None, {})}


def _configs(cells: Sequence[Cell]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """What all configurations have in common, and for each cell the rest: dotted keys with their values as text."""
    flat = [dict(_flat(cell.config)) for cell in cells]
    known = [config for config in flat if config]
    shared = {
        key: value for key, value in (known[0] if known else {}).items()
        if all(config.get(key) == value for config in known)
    }  # fmt: skip
    return shared, [{key: value for key, value in config.items() if key not in shared} for config in flat]


def _flat(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((prefix + str(key), plain(value)))
    return found

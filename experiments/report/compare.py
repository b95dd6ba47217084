"""Two studies beside one another: rows that both have, setting by setting, paired by seed."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from experiments.report.baseline import FACTORS, Row
from experiments.report.listings import Listing
from experiments.report.markdown import listed
from experiments.report.read import Cell, Study
from experiments.report.rows import Rows, rows
from experiments.report.statistics import Difference, Summary, paired, summarise, with_holm
from experiments.report.tables import apart, name, text


@dataclass(frozen=True)
class Change:
    """One row's number in both studies; ``difference`` is the second's less the first's. ``steps`` None: a model's."""

    row: Row
    setting: str
    metric: str
    steps: int | None
    first: Summary
    second: Summary
    difference: Difference


@dataclass(frozen=True)
class Comparison:
    """Two studies by name, what both have, and the rows that only one has."""

    first: str
    second: str
    changes: tuple[Change, ...]
    only_first: tuple[Row, ...]
    only_second: tuple[Row, ...]
    same_runs: int
    """Cells that are one and the same run in both: their difference is 0 and says nothing."""


def compare(first: Study, second: Study) -> Comparison:
    """All numbers of the rows that both studies have, under the settings that both were evaluated with.

    Holm's correction is over the rows and steps of one metric under one setting. Evaluations whose settings differ
    between the studies are not compared.
    """
    names = (first.name, second.name) if first.name != second.name else (str(first.path), str(second.path))
    numbers = rows(replace(first, cells=first.cells + second.cells))
    one, other = _by_row(first), _by_row(second)
    common = [row for row in one if row in other]
    changes: list[Change] = []
    for setting in numbers.settings:
        for metric in numbers.metrics:
            found = [
                change for row in common for n in _steps(numbers, setting, metric)
                if (change := _change(numbers, one[row], other[row], setting, metric, n)) is not None
            ]  # fmt: skip
            adjusted = with_holm([change.difference for change in found])
            changes += [replace(change, difference=d) for change, d in zip(found, adjusted, strict=True)]
    runs = {cell.path.name for cell in first.cells if cell.path}
    same = sum(cell.path is not None and cell.path.name in runs for cell in second.cells)
    only = tuple(row for row in one if row not in other), tuple(row for row in other if row not in one)
    return Comparison(*names, tuple(changes), *only, same)


def comparison_listings(found: Comparison) -> Iterator[Listing]:
    """A table for each setting and metric: both means and the paired difference."""
    shown = [at for at in range(4) if at < 2 or len({change.row[at] for change in found.changes}) > 1]
    head = (*(FACTORS[at] for at in shown), "steps", found.first, found.second, "difference")
    for setting, metric in dict.fromkeys((change.setting, change.metric) for change in found.changes):
        chosen = [change for change in found.changes if (change.setting, change.metric) == (setting, metric)]
        body = tuple(
            (*(change.row[at] for at in shown), "" if change.steps is None else str(change.steps),
             text(change.first), text(change.second), apart(change.difference))
            for change in chosen
        )  # fmt: skip
        tested = sum(not math.isnan(change.difference.adjusted) for change in chosen)
        note = f"Difference: {found.second} − {found.first}, paired by seed [95 % interval]"
        note += f"; * significant at 5 % after Holm's correction over {tested} comparisons." if tested else "."
        yield Listing(f"{name(metric)} ({setting} weights)", head, body, len(shown), note)


def comparison_markdown(found: Comparison) -> str:
    """The comparison as Markdown: its tables, and what only one of the studies has."""
    parts = [f"# {found.first} and {found.second}"]
    if found.same_runs:
        parts.append(f"{found.same_runs} cells are the same runs in both.")
    parts += [listed(listing) for listing in comparison_listings(found)]
    if not found.changes:
        parts.append("No row of both was evaluated with the same settings: there is nothing to compare.")
    for study, only in ((found.first, found.only_first), (found.second, found.only_second)):
        if only:
            parts += [f"## Only in {study}", "\n".join(f"* {' '.join(filter(None, row))}" for row in only)]
    return "\n\n".join(parts) + "\n"


COLUMNS = (
    *FACTORS, "setting", "metric", "steps", "first_mean", "first_n", "second_mean", "second_n", "pairs", "difference",
    "low", "high", "p", "p_holm", "tightening", "note",
)  # fmt: skip


def comparison_csv(found: Comparison) -> str:
    """One line for each row × setting × metric × steps that both have."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(COLUMNS)
    for change in found.changes:
        d = change.difference
        place = (*change.row, change.setting, change.metric, "" if change.steps is None else change.steps)
        means = (change.first.mean, change.first.n, change.second.mean, change.second.n)
        told: tuple[Any, ...] = (*place, *means, d.n, d.mean, d.low, d.high, d.p, d.adjusted, d.tightening, d.note)
        writer.writerow("" if isinstance(value, float) and math.isnan(value) else value for value in told)
    return written.getvalue()


def _change(
    numbers: Rows, first: list[Cell], second: list[Cell], setting: str, metric: str, steps: int | None
) -> Change | None:
    n = numbers.steps(setting)[0] if steps is None else steps
    sides = [{cell.seed: numbers.value(cell, setting, n, metric) for cell in cells} for cells in (first, second)]
    if not all(any(value is not None for value in side.values()) for side in sides):
        return None
    one, other = (
        summarise(list(side.values()), expected=len(cells), seeds=list(side))
        for side, cells in zip(sides, (first, second), strict=True)
    )
    known = [{seed: float(value) for seed, value in side.items() if value is not None} for side in sides]
    return Change(first[0].row, setting, metric, steps, one, other, paired(known[1], known[0]))


def _steps(numbers: Rows, setting: str, metric: str) -> list[int | None]:
    return [None] if metric in numbers.of_model else [*numbers.steps(setting)]


def _by_row(study: Study) -> dict[Row, list[Cell]]:
    found: dict[Row, list[Cell]] = {}
    for cell in study.cells:
        found.setdefault(cell.row, []).append(cell)
    return found

"""report.md: the headline tables and what is missing, as plain Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from experiments.report.facts import facts
from experiments.report.read import Study
from experiments.report.rows import Rows
from experiments.report.tables import Table, number, table, text


def markdown(study: Study, rows: Rows) -> str:
    """The report of a study as Markdown: facts, one table for each setting and metric, faults."""
    parts = [f"# {study.name}", "\n".join(f"* {key}: {value}" for key, value in facts(study).items())]
    if not study.cells:
        parts.append("The grid has no cells.")
    elif not rows.settings:
        parts += ["Nothing has been evaluated yet.", states(study, rows)]
    for setting in rows.settings:
        for metric in rows.metrics:
            found = table(study, rows, setting=setting, metric=metric)
            parts += [f"## {found.title} ({setting} weights)", grid(found)]
    failed = [
        f"* {cell.name}: {cell.state}" + (f": {cell.message}" if cell.message else "")
        for cell in study.cells
        if cell.state != "done"
    ]
    if failed:
        parts += ["## Not finished", "\n".join(failed)]
    if study.others:
        parts += ["## Runs that the plan does not name", "\n".join(f"* {other.name}" for other in study.others)]
    if study.faults:
        parts += ["## Could not be read", "\n".join(f"* {fault}" for fault in study.faults)]
    return "\n\n".join(parts) + "\n"


def grid(found: Table) -> str:
    """A table as Markdown, the best mean of each column in bold."""
    noted = any(line.note for line in found.lines)
    head = [*found.columns, *(_steps(n) for n in found.steps), *(["missing"] if noted else [])]
    body = []
    for line in found.lines:
        shown = [
            f"**{text(s)}**" if s.n and number(s.mean) == number(best) else text(s)
            for s, best in zip(line.summaries, found.best, strict=True)
            if not math.isnan(best) or s.n == 0
        ]
        body.append([*line.labels, *shown, *([line.note] if noted else [])])
    return _render(head, body, left=len(found.columns))


def states(study: Study, rows: Rows) -> str:
    """The cells and how far they are, for a study without a number."""
    found = table(study, rows, setting="", metric="")
    return _render(
        [*found.columns, "state"], [[*line.labels, line.note] for line in found.lines], left=len(found.columns) + 1
    )


def _steps(n: int) -> str:
    return "1 step" if n == 1 else f"{n} steps"


def _render(head: Sequence[str], body: Sequence[Sequence[str]], *, left: int) -> str:
    rule = [":--" if at < left else "--:" for at in range(len(head))]
    lines = [head, rule, *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

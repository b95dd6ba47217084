"""report.md: every table, what is missing, and how the numbers were made, as plain Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.report.analysis import Analysis
from experiments.report.facts import facts
from experiments.report.listings import Best, Listing, listings
from experiments.report.read import Study
from experiments.report.rows import Rows
from experiments.report.tables import table


def markdown(study: Study, rows: Rows, found: Analysis) -> str:
    """The report of a study as Markdown: facts, every table, faults."""
    parts = [f"# {study.name}", "\n".join(f"* {key}: {value}" for key, value in facts(study).items())]
    if not study.cells:
        parts.append("The grid has no cells.")
    elif not rows.settings:
        parts += ["Nothing has been evaluated yet.", states(study, rows)]
    else:
        parts.append("\n".join(f"* {line}" for line in (f"baseline: {found.baseline.reason}", *found.notes)))
    parts += [listed(listing) for listing in listings(found)]
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


def listed(listing: Listing) -> str:
    """A table as Markdown under its heading, the best of each column in bold."""
    body = [[f"**{cell}**" if isinstance(cell, Best) else cell for cell in line] for line in listing.body]
    parts = [f"{'#' * listing.level} {listing.title}", _render(listing.head, body, left=listing.left)]
    return "\n\n".join([*parts, *([listing.note.replace("*", "\\*")] if listing.note else [])])


def states(study: Study, rows: Rows) -> str:
    """The cells and how far they are, for a study without a number."""
    found = table(study, rows, setting="", metric="")
    return _render(
        [*found.columns, "state"],
        [[*line.labels, line.note or "done"] for line in found.lines],
        left=len(found.columns) + 1,
    )


def _render(head: Sequence[str], body: Sequence[Sequence[str]], *, left: int) -> str:
    rule = [":--" if at < left else "--:" for at in range(len(head))]
    lines = [head, rule, *body]
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines)


def _escaped(cell: str) -> str:
    """The text with what would end the cell taken out; a single star at its end is no emphasis."""
    told = " ".join(cell.split()).replace("|", "\\|")
    return f"{told[:-1]}\\*" if told.endswith(" *") else told

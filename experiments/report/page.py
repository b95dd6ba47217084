"""index.html: one file that opens offline and asks the network for nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experiments.report import tables
from experiments.report.analysis import Analysis, analyse
from experiments.report.facts import facts
from experiments.report.page_data import page_data
from experiments.report.pictures import pictures
from experiments.report.read import Study
from experiments.report.rows import Rows

_TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = (
    "data", "format", "elements", "choices", "rows", "colours", "scales", "chart", "legend", "figures",
    "table", "quality", "curves", "pareto", "heatmap", "statistics", "laws", "samples", "cells", "theme", "reload",
    "start",
)  # fmt: skip
"""The page's scripts in the order in which they are joined: a later one uses what earlier ones define."""


def page(study: Study, rows: Rows, *, analysis: Analysis | None = None, reload_every: float | None = None) -> str:
    """The report of a study as HTML.

    Args:
        study: what was read.
        rows: its numbers.
        analysis: its statistics, where they have been computed already.
        reload_every: seconds after which the page loads itself again, for a study that goes on; None: it stays.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["value"] = tables.text
    shown = pictures(study, rows)
    data = page_data(study, rows, analysis or analyse(study, rows))
    data |= {"sheets": shown.sheets, "conditions": shown.conditions, "shrunk": shown.shrunk}
    known, written = facts(study), datetime.now(UTC)
    return environment.get_template("page.html").render(
        study=study,
        facts=known,
        lead=_lead(study, known),
        written=written.strftime("%Y-%m-%d %H:%M:%S UTC"),
        reload_every=reload_every,
        data=to_script(data),
        script="\n".join((_TEMPLATES / "js" / f"{name}.js").read_text() for name in SCRIPTS),
        pictures="\n".join(shown.lines),
        table=_first_table(study, rows),
    )


def _lead(study: Study, known: dict[str, str]) -> str:
    """What there is, in one line: "36 cells: 35 done, 1 failed · 11.8 min of training"."""
    states = ", ".join(f"{n} {state}" for state, n in study.states.items())
    cells = f"{len(study.cells)} cell{'s'[: len(study.cells) != 1]}" + (f": {states}" if states else "")
    time = known.get("training time", "").partition(",")[0]
    return f"{cells} · {time} of training" if time else cells


def to_script(value: Any) -> str:
    """JSON that may stand in a script element: nothing in it ends the element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _first_table(study: Study, rows: Rows) -> tables.Table:
    """What a reader without scripts sees."""
    setting = rows.settings[0] if rows.settings else ""
    return tables.table(study, rows, setting=setting, metric=(rows.headline or rows.metrics or [""])[0])

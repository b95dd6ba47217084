"""index.html: one file that opens offline and asks the network for nothing."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experiments.report import figures, tables
from experiments.report.facts import facts
from experiments.report.read import Cell, Study, plain
from experiments.report.rows import Rows

_TITLES = re.compile(r"train/loss$|validation/loss_(?P<weights>[a-z]+)$")
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Sheets:
    """The sample sheets of one setting: for every cell one picture (a data URI, or None) for each number of steps."""

    setting: str
    steps: tuple[int, ...]
    lines: tuple[tuple[Cell, tuple[str | None, ...]], ...]


def page(study: Study, rows: Rows) -> str:
    """The report of a study as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"value": tables.text, "plain": plain, "pretty": _pretty, "number": tables.number}
    return environment.get_template("page.html").render(
        study=study,
        facts=facts(study),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        settings=rows.settings,
        metrics=rows.metrics,
        names={metric: tables.name(metric) for metric in rows.metrics},
        tables=[tables.table(study, rows, setting=s, metric=m) for s in rows.settings for m in rows.metrics],
        drawings=drawings(study, rows),
        sheets=[_sheets(study, rows, setting) for setting in rows.settings],
        state_table=tables.table(study, rows, setting="", metric=""),
    )


def drawings(study: Study, rows: Rows) -> list[figures.Drawing]:
    """Every figure that has something to show."""
    found = [figures.distance(study, rows, setting, metric) for setting in rows.settings for metric in rows.headline]
    logged = dict.fromkeys(name for cell in study.cells for name in sorted(cell.metrics))
    titles = {name: _TITLES.match(name) for name in logged}
    found += [figures.losses(study, name, _title(match)) for name, match in titles.items() if match]
    weights = dict.fromkeys(
        entry["weights"] for c in study.cells for e in c.evaluations for entry in e.get("validation") or ()
    )
    found += [figures.loss_at_times(study, name) for name in weights]
    return [drawing for drawing in found if drawing.svg is not None]


def _title(name: re.Match[str]) -> str:
    return "Training loss" if name["weights"] is None else f"Validation loss while training, {name['weights']} weights"


def _sheets(study: Study, rows: Rows, setting: str) -> Sheets:
    steps = tuple(rows.steps(setting))
    return Sheets(setting, steps, tuple((c, tuple(_picture(rows, c, setting, n) for n in steps)) for c in study.cells))


def _picture(rows: Rows, cell: Cell, setting: str, steps: int) -> str | None:
    named = [row["sheet"] for row in rows.of(cell, setting, steps) if row.get("sheet")]
    file = cell.path / named[-1] if cell.path and named else None
    if file is None or not file.is_file():
        return None
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)

"""Writes the report of a study."""

from __future__ import annotations

from pathlib import Path

from experiments.files import write_atomically
from experiments.report.markdown import markdown
from experiments.report.page import page
from experiments.report.read import read
from experiments.report.rows import rows, to_csv


def write_report(study: Path, *, out: Path | None = None, reload_every: float | None = None) -> Path:
    """Write ``cells.csv``, ``report.md`` and ``index.html`` from what the study's folder holds by now.

    Args:
        study: a grid's folder, with ``cells.json`` and ``runs/``.
        out: a second folder that receives the same files.
        reload_every: seconds after which the page loads itself again; None: it stays as it is.

    Returns:
        The folder ``study/report``.

    Raises:
        UserError: ``study`` is no study's folder.
    """
    found = read(study)
    numbers = rows(found)
    files = {
        "cells.csv": to_csv(numbers),
        "report.md": markdown(found, numbers),
        "index.html": page(found, numbers, reload_every=reload_every),
    }
    report = found.path / "report"
    for folder in (report, *([Path(out)] if out else [])):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_atomically(folder / name, content)
    return report

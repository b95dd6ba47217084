"""Writes the report of a study, and of two beside one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.files import write_atomically
from experiments.report.analysis import analyse
from experiments.report.compare import compare, comparison_csv, comparison_listings, comparison_markdown
from experiments.report.latex import latex
from experiments.report.listings import listings
from experiments.report.markdown import markdown
from experiments.report.page import page
from experiments.report.read import read
from experiments.report.rows import rows, to_csv
from experiments.report.summary_csv import summary_csv


def write_report(
    study: Path,
    *,
    out: Path | None = None,
    reload_every: float | None = None,
    baseline: Sequence[str] = (),
    ranked: Sequence[str] = (),
) -> Path:
    """Write the report from what the study's folder holds by now.

    ``cells.csv`` has every number, ``summary.csv`` every statistic, ``report.md`` and ``report.tex`` the tables,
    ``index.html`` all of it.

    Args:
        study: a grid's folder, with ``cells.json`` and ``runs/``.
        out: a second folder that receives the same files.
        reload_every: seconds after which the page loads itself again; None: it stays as it is.
        baseline: labels of the rows that all others are compared with.
        ranked: metrics of the global rank.

    Returns:
        The folder ``study/report``.

    Raises:
        UserError: ``study`` is no study's folder, or has no such row or metric.
    """
    found = read(study)
    numbers = rows(found)
    analysis = analyse(found, numbers, baseline=baseline, ranked=ranked)
    files = {
        "cells.csv": to_csv(numbers),
        "summary.csv": summary_csv(analysis),
        "report.md": markdown(found, numbers, analysis),
        "report.tex": latex(listings(analysis)),
        "index.html": page(found, numbers, analysis=analysis, reload_every=reload_every),
    }
    report = found.path / "report"
    for folder in (report, *([Path(out)] if out else [])):
        _write(folder, files)
    return report


def write_comparison(first: Path, second: Path, *, out: Path | None = None) -> Path:
    """Write ``comparison.md``, ``comparison.csv`` and ``comparison.tex`` of two studies.

    Args:
        first, second: grids' folders; a difference is the second's number less the first's.
        out: where; ``second/report`` by default.

    Returns:
        The folder.

    Raises:
        UserError: one of them is no study's folder.
    """
    found = compare(read(first), read(second))
    folder = Path(out) if out else Path(second) / "report"
    files = {
        "comparison.md": comparison_markdown(found),
        "comparison.csv": comparison_csv(found),
        "comparison.tex": latex(comparison_listings(found)),
    }
    _write(folder, files)
    return folder


def _write(folder: Path, files: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_atomically(folder / name, content)

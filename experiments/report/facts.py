"""When, where and with what a study was run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from experiments.report.read import Cell, Study, plain


def facts(study: Study) -> dict[str, str]:
    """What the page says under its title: states, times, computing time, device, revision and versions.

    A fact in which the cells differ lists every value; one that nobody recorded is left out.
    """
    states = ", ".join(f"{n} {state}" for state, n in study.states.items()) or "none"
    found = {"cells": f"{len(study.cells)} ({states})" if study.cells else "none"}
    times = [cell.path.joinpath(name).stat().st_mtime for cell in study.cells for name in _dated(cell) if cell.path]
    if times:
        found["run"] = f"{_when(min(times))} to {_when(max(times))}"
    seconds = [cell.done["seconds"] for cell in study.cells if isinstance(cell.done.get("seconds"), (int, float))]
    if seconds:
        found["computing time"] = f"{sum(seconds) / 60:.1f} min for the {len(seconds)} finished cells"
    recorded: dict[str, dict[str, None]] = {}
    for cell in study.cells:
        for key, value in _scalars(cell.manifest):
            recorded.setdefault(key, {})[value] = None
    return found | {key: _some(list(values)) for key, values in recorded.items()}


def _dated(cell: Cell) -> list[str]:
    names = ("manifest.json", "status.json", "done.json")
    return [name for name in names if cell.path and (cell.path / name).is_file()]


def _scalars(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A manifest's facts, one line for each; commands, which differ for every cell, are left to the cells."""
    lines = []
    for key, value in manifest.items():
        if key in ("command", "created", "started", "time", "pid") or value in (None, "", {}, []):
            continue
        text = ", ".join(f"{k} {plain(v)}" for k, v in value.items()) if isinstance(value, Mapping) else plain(value)
        lines.append((key.replace("_", " "), text))
    return lines


def _some(values: list[str], most: int = 3) -> str:
    return "; ".join(values[:most]) + (f"; and {len(values) - most} more" if len(values) > most else "")


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")

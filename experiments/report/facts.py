"""When, where and with what a study was run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from experiments import code
from experiments.report.read import Cell, Study, plain

# Of an attempt in a manifest, what says nothing about the study as a whole.
_OF_ONE_RUN = ("command", "started")


def facts(study: Study) -> dict[str, str]:
    """What the page says under its title: states, times, training time, versions, revision and device.

    A fact in which the cells differ lists its values; one that nobody recorded is left out.
    """
    states = ", ".join(f"{n} {state}" for state, n in study.states.items())
    found = {"cells": f"{len(study.cells)} ({states})" if study.cells else "none"}
    started = [str(attempt["started"]) for cell in study.cells for attempt in cell.attempts[:1] if "started" in attempt]
    if started:
        found["first started"] = _when(min(datetime.fromisoformat(text) for text in started))
    beats = [cell.heartbeat for cell in study.cells if cell.heartbeat]
    if beats:
        found["last written"] = _when(datetime.fromtimestamp(max(beats), UTC))
    seconds = [spent for cell in study.cells if (spent := training_seconds(cell)) > 0]
    if seconds:
        found["training time"] = f"{sum(seconds) / 60:.1f} min, the sum over {len(seconds)} cells"
    told = [cell.code for cell in study.cells if cell.code is not None]
    if other := sum(version != code.version() for version in told):
        found["code"] = f"changed since {other} of {len(told)} cells ran: they may not be what it would give now"
    recorded: dict[str, dict[str, None]] = {}
    for cell in study.cells:
        for key, value in _told(cell.attempts[-1] if cell.attempts else {}):
            recorded.setdefault(key, {})[value] = None
    return found | {key: _some(list(values)) for key, values in recorded.items()}


def training_seconds(cell: Cell) -> float:
    """Seconds of training, from the logged steps per second; validation and checkpoints are in them."""
    last, total = 0, 0.0
    for step, rate in cell.metrics.get("train/steps_per_second", ()):
        total += (step - last) / rate if rate > 0 else 0.0
        last = step
    return total


def _told(attempt: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in attempt.items():
        if key not in _OF_ONE_RUN and value not in (None, "", {}, []):
            pairs = isinstance(value, Mapping)
            yield (
                key.replace("_", " "),
                ", ".join(f"{k} {plain(v)}" for k, v in value.items()) if pairs else plain(value),
            )


def _some(values: list[str], most: int = 3) -> str:
    return "; ".join(values[:most]) + (f"; and {len(values) - most} more" if len(values) > most else "")


def _when(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")

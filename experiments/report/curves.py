"""Lines over many points, the seeds of a row taken together: logged losses, and the loss against path time."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from experiments.report.read import Cell

DIGITS = 6
"""Significant digits of what the page is given: more than it shows."""
MOST = 120
"""Points of a line; of more, neighbours are averaged."""
_TITLES = re.compile(r"train/loss$|validation/loss_(?P<weights>(?!.*_t\d+$).+)$")

Points = dict[int, float]
Rows = Sequence[Sequence[Cell]]
"""The rows of the page, each the cells that differ in their seed alone."""


def rounded(value: float | None) -> float | None:
    """The value to DIGITS significant digits; None for what is no number, which JSON has no word for."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")


def training_curves(rows: Rows) -> list[dict[str, Any]]:
    """Every logged loss that has a title: for each row [steps, means over seeds, least, greatest], or None.

    A line of more than MOST points is thinned to the means of neighbours, each seed by itself, so that the band is one
    of seeds and not of batches. Values that are not finite are left out and counted in ``"not_finite"``.
    """
    logged = dict.fromkeys(name for row in rows for cell in row for name in sorted(cell.metrics))
    return [_curve(rows, match) for match in map(_TITLES.match, logged) if match]


def loss_at_times(rows: Rows) -> list[dict[str, Any]]:
    """The newest validation loss at each path time, for each kind of weights: a line for each row."""
    kinds = dict.fromkeys(entry["weights"] for row in rows for cell in row for entry in _losses(cell))
    return [
        {"weights": name, "lines": [_band([_newest(cell, name) for cell in row]) for row in rows]} for name in kinds
    ]


def _curve(rows: Rows, match: re.Match[str]) -> dict[str, Any]:
    name, weights = match.string, match["weights"]
    title = "Training loss" if weights is None else f"Validation loss while training, {weights} weights"
    every = [[dict(cell.metrics.get(name, ())) for cell in row] for row in rows]
    lines = [_band(_thinned(seeds)) for seeds in every]
    lost = sum(not math.isfinite(value) for seeds in every for seed in seeds for value in seed.values())
    averaged = any(len({step for seed in seeds for step in seed}) > MOST for seeds in every)
    return {"key": name, "title": title, "not_finite": lost, "averaged": averaged, "lines": lines}


def _thinned(seeds: Iterable[Points]) -> list[Points]:
    seeds = [{x: y for x, y in seed.items() if math.isfinite(y)} for seed in seeds]
    steps = sorted({x for seed in seeds for x in seed})
    if len(steps) <= MOST:
        return seeds
    bucket: dict[int, int] = {}
    for at in range(MOST):
        near = steps[at * len(steps) // MOST : (at + 1) * len(steps) // MOST]
        bucket |= dict.fromkeys(near, near[len(near) // 2])
    return [_means(seed, bucket) for seed in seeds]


def _means(seed: Points, bucket: dict[int, int]) -> Points:
    found: dict[int, list[float]] = {}
    for x, y in seed.items():
        found.setdefault(bucket[x], []).append(y)
    return {x: sum(ys) / len(ys) for x, ys in found.items()}


def _newest(cell: Cell, weights: str) -> dict[float, float]:
    entries = [entry for entry in _losses(cell) if entry["weights"] == weights]
    pairs = zip(entries[-1]["times"], entries[-1]["loss"], strict=True) if entries else ()
    return {time: float(loss) for time, loss in pairs if loss is not None and math.isfinite(float(loss))}


def _losses(cell: Cell) -> list[dict[str, Any]]:
    return [entry for evaluation in cell.evaluations for entry in evaluation.get("validation") or ()]


def _band(seeds: Sequence[dict[Any, float]]) -> list[list[float | None]] | None:
    """[x, mean, least, greatest] of the seeds that have a value at x; None without a value."""
    xs = sorted({x for seed in seeds for x in seed})
    at = [[seed[x] for seed in seeds if x in seed] for x in xs]
    if not xs:
        return None
    ends = ((sum(values) / len(values), min(values), max(values)) for values in at)
    return [xs, *([rounded(value) for value in column] for column in zip(*ends, strict=True))]

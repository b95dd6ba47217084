"""Tables of means: rows are what the seeds of a cell have in common, columns the solver steps."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass

from experiments.report.read import Cell, Study
from experiments.report.rows import Rows
from experiments.report.statistics import Summary, summarise

MORE_IS_BETTER = {"precision", "recall"}
ONE_IS_BEST = {"diversity", "diversity_within_class"}
NAMES = {
    "frechet_distance": "Fréchet distance to the training split",
    "frechet_distance_heldout": "Fréchet distance to the held-out split",
    "kernel_distance": "Kernel distance to the training split",
    "kernel_distance_heldout": "Kernel distance to the held-out split",
    "energy_distance": "Energy distance to the training split",
    "energy_distance_heldout": "Energy distance to the held-out split",
    "precision": "Precision",
    "recall": "Recall",
    "memorisation": "Memorisation: share of samples nearer to a training image than held-out ones are",
    "bits_per_dim": "Bits per dimension of held-out samples",
    "bits_per_dim_error": "Standard error of the bits per dimension",
    "diversity": "Diversity: distance between samples over that between held-out data",
    "diversity_within_class": "Diversity within a class",
    "straightness": "Straightness: variance of the velocity along a sample's way",
    "straightness_relative": "Straightness, relative to the chord",
    "path_length": "Path length",
    "path_length_ratio": "Path length over the chord",
    "validation_loss": "Validation loss, mean over 8 times",
    "seconds_per_image": "Seconds per image",
}
FAMILIES = {
    r"self_consistency_step_(\S+)": r"Self-consistency error of steps of \1",
    r"teacher_gap_1": "Teacher–student gap at 1 step",
    r"teacher_gap_(\d+)": r"Teacher–student gap at \1 steps",
    r"loss_t(\S+)-(\S+)_step_0": r"Held-out loss, t from \1 to \2, steps of no length",
    r"loss_t(\S+)-(\S+)_step_(\S+)": r"Held-out loss, t from \1 to \2, steps of \3",
    r"loss_t([^_]+)-([^_]+)": r"Held-out loss, t from \1 to \2",
}
"""Names that hold an option of their metric."""


@dataclass(frozen=True)
class Line:
    """One row of a table: its labels, its cells (one for each seed) and one summary for each number of steps."""

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]
    summaries: tuple[Summary, ...]

    @property
    def note(self) -> str:
        """What is missing, "" where nothing is: "failed", "1 of 3 failed, 1 of 3 running (40 %)"."""
        states = Counter(_state(cell) for cell in self.cells)
        total = len(self.cells)
        found = [(state, n) for state, n in states.items() if state != "done"]
        notes = [state if n == total == 1 else f"{n} of {total} {state}" for state, n in found]
        if not found and any(summary.n + summary.not_finite < summary.expected for summary in self.summaries):
            notes.append("some settings not evaluated")
        return ", ".join(notes)


@dataclass(frozen=True)
class Table:
    """One metric under one setting. ``columns`` are label names, ``steps`` the number columns."""

    setting: str
    metric: str
    columns: tuple[str, ...]
    steps: tuple[int, ...]
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        return name(self.metric)

    @property
    def best(self) -> tuple[float, ...]:
        """The best mean of each column; nan for a column without a number."""
        columns = ([line.summaries[at].mean for line in self.lines] for at in range(len(self.steps)))
        return tuple(min(filter(math.isfinite, column), key=self._cost, default=math.nan) for column in columns)

    def _cost(self, value: float) -> float:
        if self.metric in ONE_IS_BEST:
            return abs(value - 1)
        return -value if self.metric in MORE_IS_BETTER else value


def table(study: Study, rows: Rows, *, setting: str, metric: str) -> Table:
    """The means of ``metric`` under ``setting``; every row of the grid stands in it, with numbers or without."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in study.cells:
        groups.setdefault(cell.row, []).append(cell)
    steps = rows.steps(setting)
    shown = [at for at in range(4) if at < 2 or len({labels[at] for labels in groups}) > 1]
    lines = [
        Line(
            tuple(labels[at] for at in shown),
            tuple(cells),
            tuple(
                summarise([rows.value(cell, setting, n, metric) for cell in cells], expected=len(cells)) for n in steps
            ),
        )
        for labels, cells in groups.items()
    ]
    names = ("objective", "backbone", "data", "variant")
    return Table(setting, metric, tuple(names[at] for at in shown), tuple(steps), tuple(lines))


def name(metric: str) -> str:
    """A metric as one says it."""
    if metric in NAMES:
        return NAMES[metric]
    found = (match.expand(told) for family, told in FAMILIES.items() if (match := re.fullmatch(family, metric)))
    return next(found, metric.replace("_", " ").capitalize())


def text(summary: Summary) -> str:
    """ "18.2", "18.2 ± 1.1" over seeds, with "(2 of 3)" where seeds are missing, "not finite", or "–"."""
    if summary.n == 0:
        return "not finite" if summary.not_finite else "–"
    spread = f" ± {number(summary.std, 2)}" if summary.n > 1 else ""
    return f"{number(summary.mean)}{spread}" + ("" if summary.complete else f" ({summary.n} of {summary.expected})")


def number(value: float, significant: int = 3) -> str:
    """The value to three significant digits, without an exponent where that is short."""
    if not math.isfinite(value):
        return "not finite"
    if value == 0:
        return "0"
    digits = significant - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, min(digits, 6))}f}" if 1e-4 <= abs(value) < 1e6 else f"{value:.{significant - 1}e}"


def _state(cell: Cell) -> str:
    if cell.state in ("running", "interrupted") and cell.max_steps:
        return f"{cell.state} ({100 * cell.step // cell.max_steps} %)"
    return cell.state

"""Tables of means: rows are what the seeds of a cell have in common, columns the solver steps."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from experiments.report.baseline import Baseline, Row, comparable
from experiments.report.read import Cell, Study
from experiments.report.rows import Rows
from experiments.report.statistics import Difference, Summary, paired, summarise, with_holm

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
    """One row of a table: its labels, its cells (one for each seed) and one summary for each number of steps.

    ``differences`` are to the row's baseline, one for each number of steps; None for the baseline itself, for a row
    that has none, and where the metric cannot be compared.
    """

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]
    summaries: tuple[Summary, ...]
    differences: tuple[Difference | None, ...] = ()

    @property
    def row(self) -> Row:
        """Objective, backbone, data, variant."""
        return self.cells[0].row

    @property
    def note(self) -> str:
        """What is missing, "" where nothing is: "failed", "1 of 3 failed (seed 2)"."""
        states: dict[str, list[Cell]] = {}
        for cell in self.cells:
            states.setdefault(_state(cell), []).append(cell)
        total = len(self.cells)
        found = [(state, cells) for state, cells in states.items() if state != "done"]
        notes = [state if total == 1 else f"{len(cells)} of {total} {state}{_seeds(cells)}" for state, cells in found]
        if not found and any(summary.n + summary.not_finite < summary.expected for summary in self.summaries):
            notes.append("some settings not evaluated")
        return ", ".join(notes)


@dataclass(frozen=True)
class Table:
    """One metric under one setting. ``columns`` are label names, ``steps`` the number columns.

    ``of_model`` says that the number is a model's, the same in every column.
    """

    setting: str
    metric: str
    columns: tuple[str, ...]
    steps: tuple[int, ...]
    lines: tuple[Line, ...]
    of_model: bool = False

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


def table(study: Study, rows: Rows, *, setting: str, metric: str, baseline: Baseline | None = None) -> Table:
    """The means of ``metric`` under ``setting``; every row of the grid stands in it, with numbers or without.

    With a baseline also each row's paired differences to its own, Holm's correction being over the whole table; a
    number of the model is one comparison, not one for each column.
    """
    groups: dict[Row, list[Cell]] = {}
    for cell in study.cells:
        groups.setdefault(cell.row, []).append(cell)
    steps = rows.steps(setting)
    shown = [at for at in range(4) if at < 2 or len({labels[at] for labels in groups}) > 1]
    lines = [
        Line(
            tuple(labels[at] for at in shown),
            tuple(cells),
            tuple(
                summarise(
                    [rows.value(cell, setting, n, metric) for cell in cells],
                    expected=len(cells),
                    seeds=[cell.seed for cell in cells],
                )
                for n in steps
            ),
        )
        for labels, cells in groups.items()
    ]
    names = ("objective", "backbone", "data", "variant")
    of_model = metric in rows.of_model
    if baseline is not None:
        lines = _compared(lines, groups, rows, setting=setting, metric=metric, steps=steps, baseline=baseline)
    return Table(setting, metric, tuple(names[at] for at in shown), tuple(steps), tuple(lines), of_model)


def _compared(
    lines: Sequence[Line],
    groups: dict[Row, list[Cell]],
    rows: Rows,
    *,
    setting: str,
    metric: str,
    steps: Sequence[int],
    baseline: Baseline,
) -> list[Line]:
    columns = steps[:1] if metric in rows.of_model else steps

    def by_seed(row: Row, n: int) -> dict[int | None, float]:
        values = {cell.seed: rows.value(cell, setting, n, metric) for cell in groups[row]}
        return {seed: float(value) for seed, value in values.items() if value is not None}

    family: dict[tuple[Row, int], Difference] = {}
    for row, cells in groups.items():
        other = baseline.of.get(row)
        if other is None or other == row or not comparable(metric, cells[0], groups[other][0]):
            continue
        for n in columns:
            own, its = by_seed(row, n), by_seed(other, n)
            if own and its:
                family[row, n] = paired(own, its)
    adjusted = dict(zip(family, with_holm(list(family.values())), strict=True))
    place = dict.fromkeys(steps, columns[0]) if metric in rows.of_model and steps else {n: n for n in steps}
    return [replace(line, differences=tuple(adjusted.get((line.row, place[n])) for n in steps)) for line in lines]


def better(metric: str, difference: Difference) -> bool | None:
    """Whether the row is better than its baseline by its mean; None where more is neither better nor worse."""
    if metric in ONE_IS_BEST or math.isnan(difference.mean) or difference.mean == 0:
        return None
    return (difference.mean > 0) == (metric in MORE_IS_BETTER)


def name(metric: str) -> str:
    """A metric as one says it."""
    if metric in NAMES:
        return NAMES[metric]
    found = (match.expand(told) for family, told in FAMILIES.items() if (match := re.fullmatch(family, metric)))
    return next(found, metric.replace("_", " ").capitalize())


def text(summary: Summary, *, ends: bool = False) -> str:
    """ "18.2", "18.2 ± 1.1" over seeds, with "(2 of 3)" where seeds are missing, "not finite", or "–".

    With ``ends`` the 95 % interval of the mean too: "18.2 ± 1.1 [15.5, 20.9]".
    """
    if summary.n == 0:
        return "not finite" if summary.not_finite else "–"
    spread = f" ± {number(summary.std, 2)}" if summary.n > 1 else ""
    if ends and (found := summary.interval()):
        spread += f" [{number(found[0])}, {number(found[1])}]"
    return f"{number(summary.mean)}{spread}" + ("" if summary.complete else f" ({summary.n} of {summary.expected})")


def apart(difference: Difference | None) -> str:
    """ "−3.1 [−4.0, −2.2] *": the difference, its interval, and a star where it is significant after Holm."""
    if difference is None or difference.n == 0:
        return "–"
    if difference.n == 1:
        return f"{signed(difference.mean)} (1 pair)"
    ends = f"[{signed(difference.low)}, {signed(difference.high)}]"
    return f"{signed(difference.mean)} {ends}" + (" *" if difference.significant else "")


def signed(value: float) -> str:
    """The value with its sign, a plus too."""
    return ("+" if value > 0 and math.isfinite(value) else "") + number(value)


def number(value: float, significant: int = 3) -> str:
    """The value to three significant digits, without an exponent where that is short; a minus is as long as a plus."""
    if not math.isfinite(value):
        return "not finite"
    if value == 0:
        return "0"
    sign, size = "−" if value < 0 else "", abs(value)
    digits = significant - 1 - math.floor(math.log10(size))
    return sign + (f"{size:.{max(0, min(digits, 6))}f}" if 1e-4 <= size < 1e6 else f"{size:.{significant - 1}e}")


def _seeds(cells: Sequence[Cell]) -> str:
    named = [str(cell.seed) for cell in cells if cell.seed is not None]
    return f" (seed{'s' if len(named) > 1 else ''} {', '.join(named)})" if named else ""


def _state(cell: Cell) -> str:
    if cell.state in ("running", "interrupted") and cell.max_steps:
        return f"{cell.state} ({100 * cell.step // cell.max_steps} %)"
    return cell.state

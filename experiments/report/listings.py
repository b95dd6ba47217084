"""Every table of the report as rows of text, which Markdown, LaTeX and the terminal each write in their own way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from experiments.report.analysis import Analysis
from experiments.report.baseline import FACTORS
from experiments.report.ranking import Ranking
from experiments.report.relations import Relation
from experiments.report.scaling import Efficiency, Law, Length
from experiments.report.statistics import Difference, Estimate, Summary
from experiments.report.tables import Table, apart, name, number, text


class Best(str):
    """The text of a column's best entry."""

    __slots__ = ()


@dataclass(frozen=True)
class Listing:
    """A table of text: the first ``left`` columns are labels, the others numbers; ``level`` is that of its heading."""

    title: str
    head: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]
    left: int
    note: str = ""
    level: int = 2


def listings(found: Analysis) -> Iterator[Listing]:
    """All tables that have something to say, in the order in which they are read."""
    for table in found.tables.values():
        yield means(table)
        if any(difference and difference.n > 1 for line in table.lines for difference in line.differences):
            yield differences(table)
    if found.ranking.lines:
        yield ranking(found.ranking)
    if found.efficiency:
        yield from efficiency(found.efficiency)
    if found.path_lengths:
        yield path_lengths(found.path_lengths)
    if found.power_laws:
        yield power_laws(found.power_laws)
    if found.correlations:
        yield correlations(found.correlations)


def means(table: Table) -> Listing:
    """Mean ± standard deviation [95 % interval] over seeds, the best mean of each column marked, what is missing."""
    columns, best = _columns(table), table.best
    noted = any(line.note for line in table.lines)
    head = (*table.columns, *(_head(table, at) for at in columns), *(["missing"] if noted else []))
    body = []
    for line in table.lines:
        shown = [(line.summaries[at], best[at]) for at in columns]
        told = [_marked(text(s, ends=True), best=s.n > 0 and number(s.mean) == number(b)) for s, b in shown]
        body.append((*line.labels, *told, *([line.note] if noted else [])))
    several = any(s.n > 1 for line in table.lines for s in line.summaries)
    note = "Mean ± standard deviation over seeds, [95 % interval of the mean]." if several else ""
    return Listing(f"{table.title} ({table.setting} weights)", head, tuple(body), len(table.columns), note)


def differences(table: Table) -> Listing:
    """Each row less its baseline, seed by seed, with its interval and a star where it is significant."""
    columns = _columns(table)
    body = tuple((*line.labels, *(apart(line.differences[at]) for at in columns)) for line in table.lines)
    found = [line.differences[at] for line in table.lines for at in columns]
    head = (*table.columns, *(_head(table, at) for at in columns))
    title = f"{table.title} ({table.setting} weights): difference to the baseline"
    return Listing(title, head, body, len(table.columns), _about(found), level=3)


def ranking(found: Ranking) -> Listing:
    """Mean front over all controls, and over those of each number of steps."""
    steps = list(dict.fromkeys(control.steps for control in found.controls))
    spread = any(math.isfinite(line.low) for line in found.lines)
    head = ("objective", "backbone", "variant", "rank", *(_steps(n) for n in steps), "controls")
    best = min((line.rank for line in found.lines if line.n == len(found.controls)), default=math.nan)
    body = tuple(
        (
            *line.labels,
            _marked(_rank(line.rank) + (f" [{_rank(line.low)}, {_rank(line.high)}]" if spread else ""),
                    best=line.rank == best),
            *(_rank(line.by_steps[n]) for n in steps),
            f"{line.n} of {len(found.controls)}",
        )
        for line in found.lines
    )  # fmt: skip
    by = " and ".join(name(metric) for metric in found.metrics)
    told = f"Mean front of non-dominated sorting by {by}, over setting × steps × data set; 1 is best. {found.note}"
    told += " In brackets the least and the greatest rank of a seed by itself." if spread else ""
    return Listing("Global rank", head, body, 3, told.strip())


def efficiency(found: Sequence[Efficiency]) -> Iterator[Listing]:
    """How much worse each row is at fewer steps, a table for each setting and metric."""
    for setting, metric, reference in dict.fromkeys((one.setting, one.metric, one.reference) for one in found):
        chosen = [one for one in found if (one.setting, one.metric, one.reference) == (setting, metric, reference)]
        steps = sorted({n for one in chosen for n in one.relative})
        body = [(*one.row, _size(one.parameters), *(_relative(one.relative.get(n)) for n in steps)) for one in chosen]
        head = (*FACTORS, "parameters", *(f"{n} of {reference} steps" for n in steps))
        title = f"Sampling efficiency: {name(metric)} ({setting} weights)"
        note = f"Relative loss of quality against {reference} steps [95 % interval over seeds]; more is worse."
        yield Listing(title, head, tuple(body), len(FACTORS), note)


def path_lengths(found: Sequence[Length]) -> Listing:
    """Path lengths, the smallest model first."""
    body = tuple((*one.row, one.setting, _size(one.parameters), text(one.summary, ends=True)) for one in found)
    return Listing("Path length", (*FACTORS, "weights", "parameters", "length"), body, len(FACTORS) + 1)


def power_laws(found: Sequence[Law]) -> Listing:
    """a, b and c of every law, and what it says of ten times the compute."""
    head = ("objective", "backbone", "data", "weights", "points", "a", "b", "c", "error", "10 × the most compute", "")
    body = tuple(
        (law.objective, law.backbone, law.data, law.setting, str(len(law.points)), *_law(law), law.note)
        for law in found
    )  # fmt: skip
    note = (
        "Validation loss = a·C^−b + c, C in training FLOPs; error is a run's relative standard deviation about it. In "
        "brackets the 95 % interval of one further run, which covered 94.5 to 95.5 % of simulated ones."
    )
    return Listing("Validation loss against compute", head, body, 4, note)


def correlations(found: Sequence[Relation]) -> Listing:
    """Pearson's and Spearman's correlation of every metric with the validation loss."""
    head = ("metric", "weights", "steps", "data", "objective", "rows", "Pearson", "Spearman", "")
    body = tuple(
        (one.metric, one.setting, "" if one.steps is None else str(one.steps), one.data, one.objective or "all",
         str(one.n), _estimate(one.pearson), _estimate(one.spearman), one.note)
        for one in found
    )  # fmt: skip
    note = "Over rows, each the mean of its seeds [95 % interval]. Losses of different heads are in different units."
    return Listing("Does the validation loss tell the other metrics?", head, body, 5, note)


def _columns(table: Table) -> range:
    return range(min(1, len(table.steps)) if table.of_model else len(table.steps))


def _head(table: Table, at: int) -> str:
    return "value" if table.of_model else _steps(table.steps[at])


def _steps(n: int) -> str:
    return "1 step" if n == 1 else f"{n} steps"


def _marked(told: str, *, best: bool) -> str:
    return Best(told) if best else told


def _about(found: Sequence[Difference | None]) -> str:
    tested = [one for one in found if one is not None and not math.isnan(one.adjusted)]
    told = "Mean over seeds of the paired differences [95 % interval]"
    if not tested:
        return f"{told}; too few pairs for a test."
    widths = sorted(one.tightening for one in tested if math.isfinite(one.tightening))
    told += f"; * significant at 5 % after Holm's correction over {len(tested)} comparisons."
    return told + (f" Pairing makes the intervals {widths[len(widths) // 2]:.2f} × as wide (median)." if widths else "")


def _rank(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "–"


def _size(parameters: int | None) -> str:
    return "–" if parameters is None else f"{parameters:,}"


def _relative(summary: Summary | None) -> str:
    if summary is None or summary.n == 0:
        return "–"
    ends = summary.interval()
    told = f"{100 * summary.mean:.1f} %" + (f" [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]" if ends else "")
    return told.replace("-", "−")


def _estimate(found: Estimate | None) -> str:
    if found is None or not math.isfinite(found.value):
        return "–"
    ends = (found.low, found.high)
    told = f"{found.value:.2f}" + (" [{:.2f}, {:.2f}]".format(*ends) if all(map(math.isfinite, ends)) else "")
    return told.replace("-", "−")


def _law(law: Law) -> tuple[str, ...]:
    if not law.curve:
        return ("–",) * 5
    end = law.curve[-1]
    ahead = f"{number(end.loss)} [{number(end.low)}, {number(end.high)}]"
    return number(law.a), _estimate(law.b), _estimate(law.c), f"{100 * law.error:.1f} %", ahead

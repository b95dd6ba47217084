"""The headline table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.report.baseline import choose
from experiments.report.read import read
from experiments.report.rows import rows
from experiments.report.tables import number, text
from experiments.report.tables import table as means

if TYPE_CHECKING:
    from rich.table import Table


def table(study: Path, *, baseline: Sequence[str] = ()) -> Table:
    """The headline distance: objective × backbone against solver steps, a block of rows for each setting.

    A star is a difference to the baseline that is significant after Holm's correction over its block.

    Raises:
        UserError: ``study`` is no study's folder, or has no such baseline.
    """
    from rich.table import Table
    from rich.text import Text

    found = read(study)
    numbers, chosen = rows(found), choose(found, baseline)
    settings, metric = numbers.settings or [""], (numbers.headline or numbers.metrics or [""])[0]
    steps, starred = numbers.steps(), False
    first = means(found, numbers, setting=settings[0], metric=metric)
    shown = Table(title=f"{found.name}: {first.title if metric else 'nothing evaluated yet'}", title_justify="left")
    for column in (*first.columns, *(["weights"] if len(settings) > 1 else [])):
        shown.add_column(column, overflow="fold")
    for n in steps:
        shown.add_column("1 step" if n == 1 else f"{n} steps", justify="right")
    for setting in settings:
        block = means(found, numbers, setting=setting, metric=metric, baseline=chosen)
        at = {n: index for index, n in enumerate(block.steps)}
        for line in block.lines:
            values = []
            for n in steps:
                summary = line.summaries[at[n]] if n in at else None
                difference = line.differences[at[n]] if n in at else None
                star = " *" if difference is not None and difference.significant else ""
                starred = starred or bool(star)
                best = summary is not None and summary.n > 0 and number(summary.mean) == number(block.best[at[n]])
                values.append(Text(text(summary) + star if summary else "–", style="bold" if best else ""))
            labels = [Text(label) for label in (*line.labels, *([setting] if len(settings) > 1 else []))]
            shown.add_row(*labels, *values)
        shown.add_section()
    notes = [f"{' '.join(line.labels)}: {line.note}" for line in first.lines if line.note]
    if starred:
        notes.append(f"* differs at 5 % (paired by seed, Holm) from the baseline, {chosen.reason}")
    shown.caption = Text("\n".join(notes) if found.cells else "The grid has no cells.")
    shown.caption_justify = "left"
    return shown

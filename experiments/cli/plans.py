"""What ``fewstep grid plan`` prints."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from experiments.grid.costs import Cost
    from experiments.grid.language import Grid
    from experiments.grid.outlook import Outlook
    from experiments.grid.study import Cell, Study


def show(grid: Grid, study: Study, *, measure: bool, rows: int, as_json: bool) -> None:
    """Plan a grid, and print its cells, what they cost, and what would become of the study's own."""
    from experiments.grid.costs import costs_of
    from experiments.grid.outlook import outlook
    from experiments.grid.planning import survey

    with _uncollected():
        planned = survey(grid)
    found = outlook([one.cell for one in planned], study)
    measured = {}
    if measure:
        from experiments.grid.measuring import measured as measure_steps

        said = Console(stderr=True)
        measured = measure_steps([one.config for one in planned], say=lambda told: said.print(told, highlight=False))
    known = costs_of(study, planned, found.done, measured)
    costs = [known.of(one.config) for one in planned]
    source = "measured here" if measure else f"by {len(found.done)} done cells"
    if as_json:
        print(json.dumps(_facts(grid, study, found, costs), indent=1))
        return
    console = Console()
    console.print(_table(grid, study, found, rows))
    for line in _totals(found, costs, source):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection: what a plan makes stays, and to walk over it and torch time and again takes 10 %."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _table(grid: Grid, study: Study, found: Outlook, rows: int) -> Table:
    table = Table(title=escape(f"{grid.name}: {len(found.cells)} runs in {study.path}"))
    for heading in ("run", "cell", "state"):
        table.add_column(heading, overflow="fold")
    table.add_column("steps", justify="right")
    for cell, state, step in found.cells[:rows]:
        waits = f" (after {len(cell.needs)})" if cell.needs else ""
        table.add_row(cell.hash, escape(cell.name), state + waits, f"{step}/{cell.max_steps}")
    if len(found.cells) > rows:
        table.add_row("…", f"and {len(found.cells) - rows} more (--rows {len(found.cells)} shows them)", "", "")
    return table


def _totals(found: Outlook, costs: list[Cost], source: str) -> list[str]:
    from experiments.grid.board import duration

    states = Counter(state for _, state, _ in found.cells)
    steps, left = _steps(found)
    shares = [_left(cell, state, step) for cell, state, step in found.cells]
    flops = [sum(cost.flops for cost in costs), sum(c.flops * share for c, share in zip(costs, shares, strict=True))]
    disk = [sum(cost.bytes for cost in costs), sum(c.bytes for c, share in zip(costs, shares, strict=True) if share)]
    lines = [
        f"runs   {len(found.cells)}: " + ", ".join(f"{count} {state}" for state, count in states.items()),
        f"steps  {steps}, {left} left",
        f"FLOPs  {flops[0]:.3g}, {flops[1]:.3g} left",
    ]
    seconds = [cost.seconds for cost in costs if cost.seconds is not None]
    if len(seconds) == len(costs):
        open_seconds = sum(each * share for each, share in zip(seconds, shares, strict=True))
        lines.append(f"time   {duration(sum(seconds))} of one worker, {duration(open_seconds)} left ({source})")
    else:
        lines.append("time   not known: no cell is done yet (--measure times a few steps of each kind)")
    lines.append(f"disk   {size(disk[0])}, {size(disk[1])} of it for runs that are not done")
    if found.cancelled:
        named = ", ".join(f"{cell.name} ({cell.hash})" for cell in found.cancelled[:8])
        more = f" and {len(found.cancelled) - 8} more" if len(found.cancelled) > 8 else ""
        lines.append(f"would be cancelled, as the grid has them no more: {len(found.cancelled)}: {named}{more}")
    kept = sum(state.state == "done" for _, state in found.gone)
    if kept:
        lines.append(f"done, but no more in the grid: {kept}; their folders stay")
    return lines


def _facts(grid: Grid, study: Study, found: Outlook, costs: list[Cost]) -> dict[str, Any]:
    """The same for programs."""
    cells = [
        {**asdict(cell), "state": state, "step": step, **asdict(cost)}
        for (cell, state, step), cost in zip(found.cells, costs, strict=True)
    ]
    seconds = [cost.seconds for cost in costs if cost.seconds is not None]
    steps, left = _steps(found)
    total = {
        "runs": len(cells),
        "states": dict(Counter(state for _, state, _ in found.cells)),
        "steps": steps,
        "steps_left": left,
        "flops": sum(cost.flops for cost in costs),
        "seconds": sum(seconds) if len(seconds) == len(costs) else None,
        "bytes": sum(cost.bytes for cost in costs),
    }
    gone = [{"name": cell.name, "hash": cell.hash, "state": state.state} for cell, state in found.gone]
    return {"name": grid.name, "study": str(study.path), "total": total, "cells": cells, "gone": gone}


def _steps(found: Outlook) -> tuple[int, int]:
    """Steps of all cells, and those that are left."""
    left = sum(0 if state == "done" else cell.max_steps - step for cell, state, step in found.cells)
    return sum(cell.max_steps for cell, _, _ in found.cells), left


def _left(cell: Cell, state: str, step: int) -> float:
    """The share of a cell that is still to be done."""
    return 0.0 if state == "done" else 1 - step / cell.max_steps


def size(count: float) -> str:
    """A number of bytes: 35 MB, 1.2 GB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.3g} {unit}" if count < 1000 else f"{count:,.0f} {unit}"
        count /= 1000
    raise AssertionError

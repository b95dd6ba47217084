"""What a person sees of a study while it runs: a live table on a terminal, a line for each event elsewhere."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from experiments.grid.states import STATES, CellState
from experiments.grid.study import Cell, Study

STYLES = {
    "running": "cyan", "stalled": "magenta", "failed": "red", "preempted": "yellow", "interrupted": "yellow",
    "queued": "blue", "pending": "dim", "cancelled": "dim", "done": "green",
}  # fmt: skip


def seconds_left(states: list[tuple[Cell, CellState]]) -> float | None:
    """Time until the training of all cells ends if it goes on as now; None while nothing is known."""
    rate = sum(state.rate or 0.0 for _, state in states if state.state == "running")
    open_cells = [(cell, state) for cell, state in states if state.state not in ("done", "cancelled")]
    left = sum(max(0, cell.max_steps - state.step) for cell, state in open_cells)
    return left / rate if rate else None


def table(study: Study, states: list[tuple[Cell, CellState]], *, rows: int | None = None) -> Table:
    """A row for each cell, at most ``rows`` of them: what runs comes first, then what failed."""
    counts = Counter(state.state for _, state in states)
    title = f"{study.path}: " + ", ".join(f"{counts[name]} {name}" for name in STATES if counts[name])
    left = seconds_left(states)
    grid = Table(title=title, caption=f"about {duration(left)} of training left" if left else None, expand=False)
    for heading in ("cell", "state"):
        grid.add_column(heading)
    for heading in ("step", "steps/s", "loss", "left"):
        grid.add_column(heading, justify="right")
    shown = states if rows is None else sorted(states, key=lambda pair: STATES.index(pair[1].state))[:rows]
    for cell, state in shown:
        rate, loss = (state.rate, state.loss) if state.state == "running" else (None, None)
        grid.add_row(
            escape(cell.name),
            f"[{STYLES[state.state]}]{state.state}[/]"
            + (f"\n[red]{_short(state.message)}[/]" if state.message else ""),
            f"{state.step}/{cell.max_steps}",
            f"{rate:.1f}" if rate else "",
            f"{loss:.4f}" if loss is not None else "",
            duration((cell.max_steps - state.step) / rate) if rate else "",
        )
    if len(shown) < len(states):
        grid.add_row(f"[dim]and {len(states) - len(shown)} more[/]")
    return grid


class Board:
    """Shows a study's cells as they change."""

    def __init__(self, study: Study, console: Console):
        self.study, self.console = study, console
        self._states: dict[str, CellState] = {}
        self._began: dict[str, float] = {}
        self._live: Live | None = None

    def __enter__(self) -> Board:
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, states: list[tuple[Cell, CellState]]) -> None:
        """Refresh the table, or say what has changed since the last time."""
        if self._live is not None:
            self._live.update(table(self.study, states, rows=max(5, self.console.height - 8)), refresh=True)
            return
        finished = sum(state.state == "done" for _, state in states)
        for cell, state in states:
            before = self._states.get(cell.hash)
            changed = before is None or before.state != state.state
            if changed and (before is not None or state.state == "running"):
                self._tell(cell, state, before, f"{finished}/{len(states)}")
            self._states[cell.hash] = state

    def _tell(self, cell: Cell, state: CellState, before: CellState | None, finished: str) -> None:
        now = time.monotonic()
        took = f" after {duration(now - self._began[cell.hash])}" if cell.hash in self._began else ""
        if state.state == "running":
            self._began[cell.hash] = now
            took = f" from step {before.step}" if before is not None and before.step else ""
        self.say(
            f"[{finished} done] {cell.name}: {state.state}{took}" + (f": {state.message}" if state.message else "")
        )

    def say(self, text: str) -> None:
        """One line with the time of day."""
        self.console.print(f"{time.strftime('%H:%M:%S')} {text}", markup=False, highlight=False, soft_wrap=True)


def last_lines(file: Path, count: int) -> list[str]:
    """The last lines of a file that are not empty; none where there is no file."""
    try:
        with open(file, "rb") as data:
            data.seek(max(0, data.seek(0, os.SEEK_END) - 4096))
            lines = data.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [line.rstrip() for line in lines if line.strip()][-count:]


def duration(seconds: float) -> str:
    """59 s, 12 min 05 s, 3 h 07 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _short(text: str, width: int = 60) -> str:
    """The first line of a message, cut to ``width``, safe to stand in markup."""
    line = (text.strip().splitlines() or [""])[0]
    return escape(line if len(line) <= width else line[: width - 1] + "…")

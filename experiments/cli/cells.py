"""``fewstep grid status|logs|retry|cancel``: a study's cells, looked at and told what to do. Imports no torch."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from experiments.cli.console import output, tell
from experiments.errors import UserError
from experiments.grid.selecting import Selected, changed, one, select
from experiments.grid.study import Cell, Study
from experiments.registry import entries

if TYPE_CHECKING:
    from experiments.grid.states import CellState

WATCH_EVERY = 2.0
TOLD = 10
"""Failed cells whose last words are printed below the table."""

StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="A study's folder: studies/NAME.")]
Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[CELL|STATE|KEY=VALUE]...", help="Which cells: names or hashes, states, conditions."),
]


def logs(
    study: StudyFolder,
    cell: Annotated[str, typer.Argument(metavar="CELL", help="A cell's name, or the first digits of its hash.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the cell has ended.")] = False,
    lines: Annotated[int | None, typer.Option("--lines", "-n", min=1, help="The last so many lines.")] = None,
) -> None:
    """Print what a cell has printed, all its attempts one after the other."""
    found = Study.open(study)
    asked = one(found, cell)
    file = found.log(asked)
    if not file.is_file() and not follow:
        raise UserError(f"{asked.name} has printed nothing yet: it is {found.state(asked).state}")
    at = 0
    while True:
        ended = found.state(asked).state in ("done", "failed", "cancelled")
        if file.is_file():
            text, at = _since(file, at)
            print("\n".join(text.splitlines()[-lines:]) + "\n" if lines and text else text, end="", flush=True)
            lines = None
        if not follow or ended:
            return
        time.sleep(0.5)


def retry(study: StudyFolder, words: Words = None) -> None:
    """Give failed and cancelled cells a new chance: the failed ones, or those that are named.

    The next `fewstep grid run` takes them, or a worker that is at work on the study now.
    """
    from experiments.grid import orders

    found = Study.open(study)
    given = orders.retry(found, [cell for cell, _ in select(found, words or ["failed"])])
    _told(given, "is given another chance", "are given another chance")


def cancel(study: StudyFolder, words: Words = None) -> None:
    """Cancel cells: all that are not done, or those that are named. What they have trained is kept."""
    from experiments.grid import orders

    found = Study.open(study)
    picked = [cell for cell, _ in select(found, words or [])]
    _told(orders.cancel(found, picked, "by hand"), "is cancelled", "are cancelled")
    cancel_submitted(found, picked)


def cancel_submitted(study: Study, cells: Sequence[Cell]) -> None:
    """Have schedulers forget what was submitted to them of these cells."""
    if not cells or not (study.path / "submissions").is_dir():
        return
    for entry in entries("launchers").values():
        launcher = entry.load()
        if hasattr(launcher, "cancel"):
            launcher().cancel(study, cells)


def ask_schedulers(study: Study) -> None:
    """Have schedulers say what became of what was submitted to them, if they answer soon."""
    if (study.path / "submissions").is_dir():
        for entry in entries("launchers").values():
            launcher = entry.load()
            if hasattr(launcher, "refresh"):
                launcher().refresh(study)


def status(study: Study, words: Sequence[str], *, watch: bool, rows: int, as_json: bool) -> None:
    """Show the cells that fit the words."""
    ask_schedulers(study)
    if as_json:
        print(json.dumps([_row(cell, state) for cell, state in select(study, words)], indent=1, ensure_ascii=False))
    elif watch:
        _watch(study, words)
    else:
        states = select(study, words)
        _show(study, states, rows, output())
        _tell_more(study, states)


def _show(study: Study, states: Selected, rows: int, console: Console) -> None:
    from experiments.grid.board import table

    console.print(table(study, states, rows=rows if len(states) > rows else None))


def _watch(study: Study, words: Sequence[str]) -> None:
    """A table that is kept up to date until nothing is left to happen, or Ctrl-C."""
    from rich.live import Live

    from experiments.grid.board import table

    console = output()
    with Live(console=console, auto_refresh=False) as live:
        while True:
            study.refresh()
            ask_schedulers(study)
            states = select(study, words)
            live.update(table(study, states, rows=max(5, console.height - 8)), refresh=True)
            if all(state.state in ("done", "failed", "cancelled") for _, state in states):
                return
            time.sleep(WATCH_EVERY)


def _tell_more(study: Study, states: Selected) -> None:
    """Below the table: the last words of what failed, and what ran with other code."""
    from experiments.grid.board import last_lines

    failed = [(cell, state) for cell, state in states if state.state == "failed"]
    for cell, state in failed[:TOLD]:
        tell(f"{cell.name} ({cell.hash}) failed: {state.message}", style="red")
        for line in last_lines(study.log(cell), 3):
            tell(f"  | {line}")
    if failed:
        tell(f"`fewstep grid logs {study.path} CELL` has the rest; `fewstep grid retry {study.path}` tries again")
    if any(state.reason == "not finite" for _, state in failed):
        tell("what was not finite is run again only when a retry asks for it")
    other = sum(changed(state) for _, state in states)
    if other:
        tell(f"the code has changed since {other} of these {len(states)} cells ran: status {study.path} code=changed")


def _row(cell: Cell, state: CellState) -> dict[str, Any]:
    keys = ("state", "step", "message", "reason", "loss", "rate", "code", "ready")
    return {
        "name": cell.name, "hash": cell.hash, "run": cell.run, "seed": cell.seed, "max_steps": cell.max_steps,
        **{key: getattr(state, key) for key in keys}, "code_changed": changed(state),
        "outcomes": dict(Counter(one.outcome or "open" for one in state.history)),
    }  # fmt: skip


def _told(cells: Sequence[Cell], one_did: str, several_did: str) -> None:
    for cell in cells:
        output().print(f"{cell.hash}  {cell.name}", markup=False, highlight=False, soft_wrap=True)
    tell(f"{len(cells)} {'cell ' + one_did if len(cells) == 1 else 'cells ' + several_did}")


def _since(file: Path, at: int) -> tuple[str, int]:
    """What a file has said from a byte on, and where it ends."""
    with open(file, "rb") as data:
        data.seek(at)
        text = data.read()
    return text.decode(errors="replace"), at + len(text)

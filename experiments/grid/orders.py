"""What a person asks of cells: to be cancelled, or to be tried again. Imports no torch.

A cancelled cell has a record, ``cancelled/HASH.json``. No worker takes it; one that has it hears of the record with its
next heartbeat, wherever it runs, or at once from a signal if it runs on this machine, and stops in good order: what
was trained is kept, and a retry goes on from there.
"""

from __future__ import annotations

import getpass
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from experiments import claims
from experiments.files import write_json
from experiments.grid.hints import forget, note, told
from experiments.grid.states import CellState
from experiments.grid.study import Cell, Study
from experiments.stopping import Stop

REMOVED = "removed from the grid"
"""Why a cell is cancelled that the grid has no more: planned again, it is run again."""


def cancel(study: Study, cells: Iterable[Cell], why: str) -> list[Cell]:
    """Cancel what is not done of these cells; those that were not cancelled already."""
    cells = list(cells)
    seen = study.look()
    fresh = [cell for cell in cells if cell.hash not in seen.cancelled and study.state(cell, seen).state != "done"]
    (study.path / "cancelled").mkdir(exist_ok=True)
    for cell in fresh:
        record = {"why": why, "at": time.time(), "by": _user()}
        write_json(study.path / "cancelled" / f"{cell.hash}.json", record)
    for cell in fresh:
        last = study.state(cell, seen).last
        if last is not None and last.live and last.here and last.owner.get("listens"):
            _tell(last.owner["pid"])
    return fresh


def strangers(study: Study) -> list[Cell]:
    """What is being worked on or queued here and is not in the plan (any more), from the claims and the submissions."""
    seen = study.look()
    busy = {hash for hash in seen.claimed if not hash.startswith(".")} - told(study).keys() | seen.submitted.keys()
    runs = {run.rpartition("-")[2]: run for run in seen.runs}
    found = [
        Cell(runs.get(hash, hash), hash, runs.get(hash, hash), "", "", "", "", 0, 0, {})
        for hash in sorted(busy)
        if study.cell(hash) is None
    ]
    return [cell for cell in found if study.state(cell, seen).state in ("running", "stalled", "queued")]


def bring_in_step(study: Study) -> tuple[list[Cell], list[Cell]]:
    """Cancel what the plan has no more, and take that back for what it has again; both lists."""
    gone = cancel(study, strangers(study), REMOVED)
    cancelled = study.look().cancelled
    back = [cell for cell in study.cells if cancelled.get(cell.hash) == REMOVED]
    lift(study, back)
    return gone, back


def lift(study: Study, cells: Iterable[Cell]) -> None:
    """Take back the cancellation of these cells."""
    for cell in cells:
        (study.path / "cancelled" / f"{cell.hash}.json").unlink(missing_ok=True)


def retry(study: Study, cells: Iterable[Cell]) -> list[Cell]:
    """Give failed and cancelled cells a new chance; those that had need of one."""
    seen = study.look()
    return [cell for cell in cells if _retry(study, cell, study.state(cell, seen), cell.hash in seen.cancelled)]


def _retry(study: Study, cell: Cell, state: CellState, cancelled: bool) -> bool:
    lift(study, [cell])
    if state.state == "done" or state.last is None or state.last.outcome not in ("failed", "died"):
        return cancelled and state.state != "done"
    if not claims.retry(study.claims(cell)):
        return cancelled
    for word in ("failed", "died"):
        forget(study, cell, word)
    note(study, cell, "retried")
    return True


class Cancelled:
    """Stops a cell's run when its record appears, and lets the worker go on with the next cell.

    It stops too when another has taken the cell over, rather than only before its next write.
    """

    def __init__(self, study: Study, held: claims.Claim, stop: Stop):
        self._file, self._held = study.path / "cancelled" / f"{held.folder.name}.json", held
        self._stop, self._seen = stop, False

    def look(self) -> None:
        """Ask for a stop if the record is there, or a higher claim."""
        if not self._seen and self._file.exists():
            self._seen = self._stop.requested = True
        if not self._held.ours:
            self._stop.requested = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Look at once when the signal comes. Only the main thread listens."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(claims.LOOK_NOW, self._on_signal)
        try:
            yield
        finally:
            signal.signal(claims.LOOK_NOW, before)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.look()

    def obeyed(self) -> None:
        """The run has ended: unless others asked for a stop too, the worker may go on."""
        if self._seen and self._stop.signal is None:
            self._stop.requested = False


def _tell(pid: int) -> None:
    try:
        os.kill(pid, claims.LOOK_NOW)
    except (ProcessLookupError, PermissionError):
        return  # gone in the meantime, or another user's: the record reaches it with the next heartbeat


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())

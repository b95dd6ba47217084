"""How a worker finds a cell that is free, in a few operations however many cells and workers there are.

Two listings say almost all: ``claims/`` has a folder for each cell that anybody ever reached for, and ``ended/`` a file
``HASH.WORD`` for each whose last claim ended, where WORD is its outcome, or the key of its evaluation if it is done. A
cell in neither is free; so is one that was interrupted; one that is done needs no look. ``ended/`` is a hint and no
authority: who takes a cell asks the claims, states are read from the claims and the runs, and a launcher puts right
what does not agree with them (a run that somebody has removed, say).

Many workers that start together would all reach for the same first cell. Who comes too late takes one at random out of
the next two, then four, and so on: so the order of the plan holds nearly, and nobody waits for long.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from experiments import code
from experiments.grid.claims import Claim, claim
from experiments.grid.states import OPEN
from experiments.grid.study import Cell, Seen, Study, names


@dataclass
class Taker:
    """Takes cells of a study under one launch.

    Args:
        launch: whose failures count.
        attempts: how often a cell may fail in this launch.
        job: the scheduler's job that this process is, if it is one.
    """

    study: Study
    launch: str
    attempts: int = 1
    job: str | None = None
    luck: random.Random = field(default_factory=random.Random)
    _ended: dict[str, str] = field(default_factory=dict, init=False)

    def take(self) -> tuple[Cell, Claim] | None:
        """Claim the first cell that is free: untouched and interrupted ones, then those whose worker is gone, then
        failed ones, each in the order of the plan.

        None when every cell is done, in somebody's hands, given up under this launch, or waits for another.
        """
        self.study.refresh()
        seen = self.study.look()
        self._ended = dict(name.split(".", 1) for name in names(self.study.path / "ended"))
        begun, failed = list[Cell](), list[Cell]()

        def free() -> Iterator[Cell]:
            for cell in self.study.cells:
                word = self._ended.get(cell.hash)
                if word == cell.evaluation or cell.hash in seen.cancelled:
                    continue
                if word in ("failed", "died"):
                    failed.append(cell)
                elif cell.hash in seen.claimed and word is None:
                    begun.append(cell)
                elif self.study.ready(cell, seen):
                    yield cell

        return (
            self._first(free(), lambda cell: self._claim(cell, fresh=cell.hash not in seen.claimed))
            or self._first(iter(begun), lambda cell: self._look(cell, seen))
            or self._first(iter(failed), lambda cell: self._look(cell, seen))
        )

    def take_this(self, cell: Cell) -> tuple[Cell, Claim] | None:
        """Claim one cell, whatever became of it before; None where it is done, held, cancelled or waits."""
        seen = self.study.look(cell, *filter(None, map(self.study.cell, cell.needs)))
        self._ended = dict(name.split(".", 1) for name in names(self.study.path / "ended"))
        if self.study.state(cell, seen).state in ("done", "cancelled") or not self.study.ready(cell, seen):
            return None
        held = self._claim(cell)
        return held and (cell, held)

    def waiting(self) -> bool:
        """Whether a cell is not taken only because another, which somebody is working on, must be done first."""
        seen = self.study.look()
        return any(
            not self.study.ready(cell, seen) and not self.study.blocked(cell, seen)
            for cell in self.study.cells
            if cell.needs and cell.hash not in seen.cancelled
        )

    def _first(self, cells: Iterator[Cell], reach: Callable[[Cell], Claim | None]) -> tuple[Cell, Claim] | None:
        """The first cell that ``reach`` gets; after each failure one of twice as many is tried."""
        window, ahead = 1, list[Cell]()
        while True:
            while len(ahead) < window and (cell := next(cells, None)) is not None:
                ahead.append(cell)
            if not ahead:
                return None
            cell = ahead.pop(self.luck.randrange(min(window, len(ahead))))
            if held := reach(cell):
                return cell, held
            window *= 2

    def _look(self, cell: Cell, seen: Seen) -> Claim | None:
        """The claim on a cell whose state must be read first."""
        state = self.study.state(cell, seen)
        if state.state not in (*OPEN, "failed") or state.given_up(self.launch, self.attempts):
            return None
        return self._claim(cell) if self.study.ready(cell, seen) else None

    def _claim(self, cell: Cell, *, fresh: bool = False) -> Claim | None:
        """The claim on a cell, unless another was quicker or finished it in the meantime."""
        folder = self.study.claims(cell)
        if fresh:
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                return None
        held = claim(folder, job=self.job, launch=self.launch, code=code.version())
        if held is None:
            return None
        if cell.hash in self._ended:
            (self.study.path / "ended" / f"{cell.hash}.{self._ended[cell.hash]}").unlink(missing_ok=True)
        if self.study.state(cell).state == "done":
            held.end("released", "was done already")
            note(self.study, cell, cell.evaluation)
            return None
        return held


def note(study: Study, cell: Cell, word: str) -> None:
    """Leave the hint that a cell's last claim has ended."""
    folder = study.path / "ended"
    folder.mkdir(exist_ok=True)
    (folder / f"{cell.hash}.{word}").touch()


def put_right(study: Study) -> None:
    """Take back hints that call a cell done which is not. To be done before workers are started."""
    told = names(study.path / "ended")
    for cell, state in study.states():
        if state.state != "done" and f"{cell.hash}.{cell.evaluation}" in told:
            (study.path / "ended" / f"{cell.hash}.{cell.evaluation}").unlink(missing_ok=True)

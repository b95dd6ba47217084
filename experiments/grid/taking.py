"""How a worker finds a cell that is free, in a few operations however many cells and workers there are.

Listings say almost all: ``claims/`` has a folder for each cell that anybody ever reached for, and ``ended/`` a hint for
each whose last claim ended (:mod:`experiments.grid.hints`). A cell in neither is free; so is one that was interrupted;
one that is done needs no look. Hints are no authority: who takes a cell asks its claims, states are read from claims
and runs, and a launcher puts right what does not agree with them.

Many workers that start together would all reach for the same first cell. Who comes too late takes one at random out of
the next two, then four, and so on: so the order of the plan holds nearly, and nobody waits for long.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from experiments import code
from experiments.claims import Claim, bury, claim, clock, latest
from experiments.grid.hints import forget, note, told
from experiments.grid.states import OPEN
from experiments.grid.study import Cell, Seen, Study, names

FAILED = ("failed", "died")
FEW = 1000
"""Up to so many cells are listed anew for each that is taken; of more, what was untouched is remembered for a while."""
REMEMBERED = 60.0
TRIES = 12


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
    _claimed: set[str] = field(default_factory=set, init=False)
    _ended: dict[str, str] = field(default_factory=dict, init=False)
    _cancelled: set[str] = field(default_factory=set, init=False)
    _untouched: list[Cell] = field(default_factory=list, init=False)
    _plan: list[Cell] | None = field(default=None, init=False)
    _listed: float = field(default=0.0, init=False)

    def take(self) -> tuple[Cell, Claim] | None:
        """Claim the first cell that is free: untouched and interrupted ones, then those whose worker is gone, then
        failed ones, each in the order of the plan.

        None when every cell is done, in somebody's hands, given up under this launch, or waits for another.
        """
        self.study.refresh()
        if taken := self._remembered():
            return taken
        self._look_around()
        return (
            self._first(self._free(), self._claim)
            or self._first(self._silent(), self._look_and_claim)
            or self._first(iter(self._claimed_and(*FAILED)), self._look_and_claim)
        )

    def take_this(self, cell: Cell) -> tuple[Cell, Claim] | None:
        """Claim one cell, whatever became of it before; None where it is done, held, cancelled or waits."""
        self._look_around()
        if self.study.state(cell).state in ("done", "cancelled") or not self._ready(cell):
            return None
        held = self._claim(cell)
        return held and (cell, held)

    def waiting(self) -> bool:
        """Whether a cell is not taken only because another, which somebody is working on, must be done first."""
        if not any(cell.needs for cell in self.study.cells):
            return False
        seen = self.study.look()
        return any(
            not self.study.ready(cell, seen) and self._hopeful(cell, seen)
            for cell in self.study.cells
            if cell.needs and cell.hash not in seen.cancelled
        )

    def _hopeful(self, cell: Cell, seen: Seen) -> bool:
        """Whether everything that a cell needs is done or will be, as far as this launch is concerned."""
        needed = self.study.needed(cell)
        states = [self.study.state(one, seen) for one in needed]
        return len(needed) == len(cell.needs) and all(
            state.state in ("done", "running")
            or (
                state.state != "cancelled"
                and not state.given_up(self.launch, self.attempts)
                and (state.ready or self._hopeful(one, seen))
            )
            for one, state in zip(needed, states, strict=True)
        )

    def _look_around(self) -> None:
        path = self.study.path
        self._claimed, self._ended = names(path / "claims"), told(self.study)
        self._cancelled = {file.partition(".")[0] for file in names(path / "cancelled")}
        self._plan, self._listed = self.study.cells, time.monotonic()
        taken = self._claimed | self._cancelled if len(self._plan) > FEW else None
        self._untouched = [c for c in self._plan if c.hash not in taken and not c.needs] if taken is not None else []

    def _remembered(self) -> tuple[Cell, Claim] | None:
        """One of many cells that were untouched at the last listing, if that is not long ago and few tries find one."""
        if self._plan is not self.study.cells or time.monotonic() - self._listed > REMEMBERED:
            return None
        for window in (2**power for power in range(TRIES)):
            if not self._untouched:
                return None
            cell = self._untouched.pop(self.luck.randrange(min(window, len(self._untouched))))
            if (self.study.path / "cancelled" / f"{cell.hash}.json").exists():
                continue
            if held := self._claim(cell):
                return cell, held
        return None

    def _free(self) -> Iterator[Cell]:
        """Cells that can be claimed without another look."""
        claimed, ended, cancelled = self._claimed, self._ended, self._cancelled
        for cell in self.study.cells:
            hash = cell.hash
            if hash in claimed and ended.get(hash, "") in ("", cell.evaluation, *FAILED):
                continue
            if hash not in cancelled and self._ready(cell):
                yield cell

    def _silent(self) -> Iterator[Cell]:
        """Cells whose claim has not ended, and whose owner does not look alive."""
        begun = self._claimed_and(None)
        now = clock(self.study.path / "claims") if begun else 0.0
        for cell in begun:
            last = latest(self.study.claims(cell), now)
            if last is None or not last.live:
                yield cell

    def _claimed_and(self, *words: str | None) -> list[Cell]:
        """Cells that somebody has reached for, of which this is the hint."""
        hashes = {hash for hash in self._claimed - self._cancelled if self._ended.get(hash) in words}
        return [cell for cell in self.study.cells if cell.hash in hashes]

    def _ready(self, cell: Cell) -> bool:
        return not cell.needs or self.study.ready(cell, self.study.look(cell, *self.study.needed(cell)))

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

    def _look_and_claim(self, cell: Cell) -> Claim | None:
        """The claim on a cell whose state must be read first."""
        state = self.study.state(cell)
        if not state.ready or state.state not in (*OPEN, "failed") or state.given_up(self.launch, self.attempts):
            return None
        return self._claim(cell)

    def _claim(self, cell: Cell) -> Claim | None:
        """The claim on a cell, unless another was quicker or finished it in the meantime."""
        folder = self.study.claims(cell)
        if cell.hash not in self._claimed:
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                return None
        held = claim(folder, job=self.job, launch=self.launch, code=code.version())
        if held is None:
            return None
        if word := self._ended.get(cell.hash):
            forget(self.study, cell, word)
        if self.study.is_done(cell):
            held.end("released", "was done already")
            note(self.study, cell, cell.evaluation)
            return None
        return held


def put_right(study: Study) -> None:
    """Bring hints and claims in step with the runs. To be done before workers are started.

    A hint that calls a cell done which is not is taken back; a worker that died between finishing a run and saying so
    in its claim is spoken for.
    """
    hints = told(study)
    for cell, state in study.states():
        done = hints.get(cell.hash) == cell.evaluation
        if state.state != "done" and done:
            forget(study, cell, cell.evaluation)
        elif state.state == "done" and not done:
            last = latest(study.claims(cell))
            if last is not None and last.dead:
                bury(study.claims(cell), last.owner["pid"], "its worker died when all was done", "done")
            note(study, cell, cell.evaluation)

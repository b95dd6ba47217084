"""A study: the folder in which a grid's cells live, and what its files say about each of them. Imports no torch.

::

    studies/NAME/
      cells.json       the plan: every cell's name, hash, values and run folder
      runs/NAME-HASH/  the cells' runs
      claims/HASH/     who works or worked on a cell, and how that ended
      ended/           hints for workers: which cells need no look
      cancelled/       what was cancelled, and why
      submissions/     what was handed to a scheduler
      logs/            what each cell and each worker printed
      report/

Nothing else holds state: a study that is copied, looked at from another machine or left behind by a killed runner
says all there is to know.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments import claims
from experiments.errors import UserError
from experiments.files import read_json, write_json
from experiments.grid.states import OPEN, CellState, state_of
from experiments.runs import Run

FORMAT = 1
ENDED_SUBMISSIONS = ("ended", "cancelled")


@dataclass(frozen=True)
class Cell:
    """One planned run: a row of cells.json.

    ``run`` is the name of its folder, ``evaluation`` the key of the evaluation that it is to end with, ``overrides``
    the dotted keys in which it differs from the grid's base; the labels of its plugins stand in tables before there
    is a run. ``grid`` is the name of the grid that it belongs to where the study has several, ``needs`` the hashes of
    the cells that have to be done before it, ``resources`` the class of resources that it asks for.
    """

    name: str
    hash: str
    run: str
    evaluation: str
    objective: str
    backbone: str
    data: str
    seed: int
    max_steps: int
    overrides: dict[str, Any]
    grid: str = ""
    needs: list[str] = field(default_factory=list)
    resources: str = "default"


@dataclass(frozen=True)
class Seen:
    """What one look at a study's folders says of all cells at once, so that most need no look of their own."""

    runs: set[str]
    claimed: set[str]
    cancelled: dict[str, str]
    submitted: dict[str, dict[str, Any]]
    now: float


@dataclass(frozen=True)
class Study:
    """A study's folder."""

    path: Path
    _done: dict[str, CellState] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, path: Path) -> Study:
        """The study in an existing folder; a :class:`UserError` where there is no plan."""
        study = cls(Path(path))
        if study.plan is None:
            raise UserError(f"{path} is no study: it has no cells.json. `fewstep grid run GRID.yaml` makes one.")
        return study

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def report(self) -> Path:
        return self.path / "report"

    @cached_property
    def plan(self) -> dict[str, Any] | None:
        """cells.json, or None where there is none of a format that this version reads."""
        self.__dict__["_stamp"] = _stamp(self.path / "cells.json")
        plan = read_json(self.path / "cells.json")
        return plan if plan is not None and plan.get("format") == FORMAT else None

    @cached_property
    def cells(self) -> list[Cell]:
        """The planned cells, in the order in which they are run."""
        assert self.plan is not None, "open() has looked"
        return [Cell(**cell) for cell in self.plan["cells"]]

    @property
    def resources(self) -> dict[str, dict[str, Any]]:
        """The classes of resources by name, as the grid file has them; the launcher knows what their keys mean."""
        assert self.plan is not None, "open() has looked"
        return self.plan.get("resources", {})

    @property
    def base(self) -> dict[str, Any]:
        """What the cells' overrides are laid over: the study's base configuration."""
        assert self.plan is not None, "open() has looked"
        return self.plan["base"]

    def write_plan(self, cells: list[Cell], **facts: Any) -> None:
        """Replace cells.json; ``facts`` are what the cells were planned from (``base``) and for (``resources``)."""
        for folder in (self.runs, self.logs, self.path / "claims"):
            folder.mkdir(parents=True, exist_ok=True)
        write_json(self.path / "cells.json", {"format": FORMAT, **facts, "cells": [asdict(cell) for cell in cells]})
        self._forget()

    def run(self, cell: Cell) -> Run:
        return Run(self.runs / cell.run)

    def claims(self, cell: Cell) -> Path:
        return self.path / "claims" / cell.hash

    def log(self, cell: Cell) -> Path:
        return self.logs / f"{cell.run}.log"

    def cell(self, hash: str) -> Cell | None:
        """The planned cell of this hash."""
        return self._by_hash.get(hash)

    @cached_property
    def _by_hash(self) -> dict[str, Cell]:
        return {cell.hash: cell for cell in self.cells}

    def refresh(self) -> None:
        """Forget the plan if cells.json was replaced since it was read."""
        if self.__dict__.get("_stamp") != _stamp(self.path / "cells.json"):
            self._forget()

    def _forget(self) -> None:
        for name in ("plan", "cells", "_by_hash"):
            self.__dict__.pop(name, None)

    def look(self, *cells: Cell) -> Seen:
        """List the folders that all cells share; or look for these cells alone."""
        runs, claimed = ({cell.run for cell in cells}, {cell.hash for cell in cells}) if cells else self._listed()
        records = [self.path / "cancelled" / f"{cell.hash}.json" for cell in cells]
        records = records or list((self.path / "cancelled").glob("*.json"))
        cancelled = {file.stem: found.get("why", "") for file in records if (found := read_json(file)) is not None}
        submitted: dict[str, dict[str, Any]] = {}
        for file in sorted((self.path / "submissions").glob("*.json")):
            record = read_json(file) or {}
            if record.get("state") not in ENDED_SUBMISSIONS:
                submitted |= dict.fromkeys(record.get("cells", ()), record)
        return Seen(runs, claimed, cancelled, submitted, claims.clock(self.path / "claims"))

    def _listed(self) -> tuple[set[str], set[str]]:
        return names(self.runs), names(self.path / "claims")

    def state(self, cell: Cell, seen: Seen | None = None) -> CellState:
        """What the cell's files say now. A cell that was seen done with its evaluation is not read again."""
        if cell.hash in self._done:
            return self._done[cell.hash]
        seen = seen or self.look(cell, *self.needed(cell))
        if cell.run in seen.runs and self.is_done(cell):
            return self._done[cell.hash]
        history = tuple(claims.history(self.claims(cell), seen.now)) if cell.hash in seen.claimed else ()
        status = self.run(cell).status if cell.run in seen.runs else {"state": "pending", "step": 0}
        state = state_of(
            history, status, cancelled=seen.cancelled.get(cell.hash), submitted=seen.submitted.get(cell.hash)
        )
        if cell.needs and state.state in OPEN and (missing := self._missing(cell, seen)):
            return replace(state, message=missing, ready=False)
        return state

    def is_done(self, cell: Cell) -> bool:
        """Whether the cell's run is finished and evaluated as the plan asks, whatever else may be said of it."""
        done = None if cell.hash in self._done else self.run(cell).done
        if done is not None and cell.evaluation in done.get("evaluations", ()):
            self._done[cell.hash] = CellState("done", step=cell.max_steps, code=done.get("code"))
        return cell.hash in self._done

    def _missing(self, cell: Cell, seen: Seen) -> str | None:
        """What a cell waits for; None where all that it needs is done."""
        for hash in cell.needs:
            needed = self.cell(hash)
            found = "not planned" if needed is None else self.state(needed, seen).state
            if needed is None or found in ("failed", "cancelled"):
                return f"blocked: {needed.name if needed else hash} is {found}"
            if found != "done":
                return f"waits for {needed.name}"
        return None

    def needed(self, cell: Cell) -> list[Cell]:
        """The planned cells that must be done before this one."""
        return [found for found in map(self.cell, cell.needs) if found is not None]

    def ready(self, cell: Cell, seen: Seen) -> bool:
        """Whether everything that the cell needs is done."""
        return not cell.needs or self._missing(cell, seen) is None

    def blocked(self, cell: Cell, seen: Seen) -> bool:
        """Whether the cell waits for something that will not come by itself."""
        return any(
            needed is None or self.state(needed, seen).state in ("failed", "cancelled") or self.blocked(needed, seen)
            for needed in map(self.cell, cell.needs)
        )

    def seconds(self, cell: Cell) -> float:
        """How long workers have worked on the cell, all its claims together, without what the workers took to start."""
        ended = [c.owner for c in claims.history(self.claims(cell)) if c.outcome is not None]
        return sum(o.get("ended", 0.0) - o.get("since", 0.0) - o.get("start_up", 0.0) for o in ended)

    def states(self) -> Iterator[tuple[Cell, CellState]]:
        """The states of all cells, after one look at the shared folders."""
        seen = self.look()
        for cell in self.cells:
            yield cell, self.state(cell, seen)


def names(folder: Path) -> set[str]:
    """What a folder lists; nothing where there is none."""
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino

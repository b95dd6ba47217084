"""A study: the folder in which a grid's cells live, and what its files say about each of them. Imports no torch.

::

    studies/NAME/
      cells.json       the plan: every cell's name, hash, values and run folder
      runs/NAME-HASH/  the cells' runs
      claims/HASH/     who works or worked on a cell, and how that ended
      logs/            what each cell and each worker printed
      report/

Nothing else holds state: a study that is copied, looked at from another machine or left behind by a killed runner
says all there is to know.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.errors import UserError
from experiments.files import read_json, write_json
from experiments.grid import claims
from experiments.runs import Run

FORMAT = 1


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
class CellState:
    """What a cell's files say. ``state`` is pending, running, interrupted, failed or done; ``rate`` is steps/s."""

    state: str
    step: int = 0
    message: str | None = None
    loss: float | None = None
    rate: float | None = None
    history: tuple[claims.Claimed, ...] = field(default=(), repr=False)

    def failures(self, launch: str) -> int:
        """How often the cell failed under one launch; a claim that was dropped without a word is a death."""
        ours = [one for one in self.history if one.owner.get("launch") == launch]
        return sum(one.outcome in ("failed", "died") or (one.outcome is None and not one.live) for one in ours)

    def given_up(self, launch: str, attempts: int) -> bool:
        """Whether the cell is left alone for the rest of a launch.

        It failed ``attempts`` times in it, or in a way that would only come again (``final`` in the claim's file).
        """
        if self.state not in ("failed", "interrupted") or not self.history:
            return False
        last = self.history[-1].owner
        return self.failures(launch) >= attempts or bool(last.get("final") and last.get("launch") == launch)


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

    def write_plan(self, cells: list[Cell], **facts: Any) -> None:
        """Replace cells.json; ``facts`` are what the cells were planned from (``base``) and for (``resources``)."""
        for folder in (self.runs, self.logs, self.path / "claims"):
            folder.mkdir(parents=True, exist_ok=True)
        write_json(self.path / "cells.json", {"format": FORMAT, **facts, "cells": [asdict(cell) for cell in cells]})
        for name in ("plan", "cells"):
            self.__dict__.pop(name, None)

    def run(self, cell: Cell) -> Run:
        return Run(self.runs / cell.run)

    def claims(self, cell: Cell) -> Path:
        return self.path / "claims" / cell.hash

    def log(self, cell: Cell) -> Path:
        return self.logs / f"{cell.run}.log"

    def state(self, cell: Cell) -> CellState:
        """What the cell's files say now. A cell that was seen done with its evaluation is not read again."""
        if cell.hash in self._done:
            return self._done[cell.hash]
        run = self.run(cell)
        done = run.done
        if done is not None and cell.evaluation in done.get("evaluations", ()):
            state = CellState("done", step=cell.max_steps)
            self._done[cell.hash] = state
            return state
        history = tuple(claims.history(self.claims(cell)))
        status = run.status
        last = history[-1] if history else None
        name, message = _state_of(last, status)
        loss, rate = status.get("loss"), status.get("steps_per_second")
        return CellState(name, status.get("step", 0), message, loss, rate, history)

    def seconds(self, cell: Cell) -> float:
        """How long workers have held the cell, all its claims together."""
        ended = [c.owner for c in claims.history(self.claims(cell)) if c.outcome is not None]
        return sum(owner.get("ended", 0.0) - owner.get("since", 0.0) for owner in ended)

    def states(self) -> Iterator[tuple[Cell, CellState]]:
        for cell in self.cells:
            yield cell, self.state(cell)


def _state_of(last: claims.Claimed | None, status: dict[str, Any]) -> tuple[str, str | None]:
    """A cell's state and message from its last claim and its run's status."""
    if last is not None and last.live:
        return "running", None
    if last is not None and last.outcome in ("failed", "died"):
        return "failed", last.owner.get("message") or status.get("message")
    if status["state"] == "failed":
        return "failed", status.get("message")
    return ("pending", None) if last is None and status["state"] == "pending" else ("interrupted", None)

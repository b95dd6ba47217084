"""SLURM: cells as tasks of job arrays, submitted and left to the cluster."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from experiments.claims import claim
from experiments.errors import UserError
from experiments.grid.board import Board
from experiments.grid.launchers.slurm import commands, resources, script, submissions
from experiments.grid.launchers.slurm.arrays import arrays
from experiments.grid.launchers.slurm.script import Array
from experiments.grid.launchers.slurm.submissions import Submission
from experiments.grid.study import Cell, Study


@dataclass(frozen=True)
class Slurm:
    """Submits cells to SLURM as job arrays, one for each class of resources, and returns at once.

    Args:
        jobs: how many cells of an array run at a time; None leaves that to the cluster.
        attempts: how often a cell may die before its job is no more put back into the queue. One that was stopped in
            good order (the time limit, a preemption) goes on however often that happens.
        dry_run: write the scripts and print them; submit nothing.
    """

    version: ClassVar[int] = 1
    waits: ClassVar[bool] = False  # launch() returns before the cells have run

    jobs: int | None = None
    attempts: int = 2
    dry_run: bool = False

    def __post_init__(self) -> None:
        for name in ("jobs", "attempts"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")

    def check(self, classes: Mapping[str, Any], where: Callable[[tuple[str, ...]], str | None]) -> None:
        """Raise ConfigError for what is wrong with a grid's classes of resources; ``where`` tells file and line."""
        resources.read(classes, where)

    def launch(self, study: Study, board: Board) -> int:
        """Submit what is neither done nor in the queue nor being worked on. Returns 0.

        Raises:
            UserError: SLURM does not answer or refuses, or another process is submitting this study.
            ConfigError: faults of the classes of resources.
        """
        classes = resources.read(study.resources)
        launch = f"{time.strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:6]}"
        if self.dry_run:
            self._show(arrays(study, self._free(study, set()), classes), study, board)
            return 0
        (study.path / "submissions").mkdir(exist_ok=True)
        held = claim(study.path / "submissions" / "lock", launch=launch)
        if held is None:
            raise UserError(f"another process is submitting {study.path} just now")
        try:
            waiting = submissions.compare(study, commands.queued())
            told = {hash for one in waiting for hash in one.cells}
            free = self._free(study, told)
            if told:
                board.say(f"{len(told)} cells are in the queue already")
            if not free:
                board.say("nothing is left to submit")
            self._submit(arrays(study, free, classes), study, launch, waiting, board)
        finally:
            held.end("done")
        return 0

    def cancel(self, study: Study, cells: Sequence[Cell]) -> list[Cell]:
        """Take cells out of the queue, and end the jobs of those that run; those that were in SLURM's hands."""
        hashes = {cell.hash for cell in cells}
        if not any(hashes & set(one.cells) for one in submissions.read(study)):
            return []
        open_records = submissions.compare(study, commands.queued())
        tasks = [task for one in open_records for task in one.open_tasks(hashes)]
        commands.cancel(tasks)
        told: set[str] = set()
        for one in open_records:
            told |= hashes & set(one.cells)
            one.without(hashes, "cancelled").write(study)
        return [cell for cell in cells if cell.hash in told]

    def refresh(self, study: Study, patience: float = 2.0) -> None:
        """Bring the study's records in step with the queue, if SLURM answers soon; else leave them as they are."""
        if not submissions.read(study):
            return
        try:
            submissions.compare(study, commands.queued(patience))
        except commands.NoAnswer:
            return

    def _free(self, study: Study, queued: Collection[str]) -> list[Cell]:
        """The cells that are to be submitted, the failed ones among them: somebody asked for them again.

        Not those that need a cell which is neither done nor on its way.
        """
        states = list(study.states())
        there = {cell.hash for cell, state in states if state.state in ("done", "running")} | set(queued)
        free = {
            cell.hash: cell
            for cell, state in states
            if cell.hash not in there and state.state != "cancelled" and not state.given_up("", self.attempts)
        }
        while blocked := [cell for cell in free.values() if not {*cell.needs} <= there | free.keys()]:
            for cell in blocked:
                del free[cell.hash]
        return list(free.values())

    def _show(self, found: Sequence[Array], study: Study, board: Board) -> None:
        for array in found:
            file = self._script(array, study, study.path / "slurm" / "dry-run", "dry-run")
            board.console.print(f"# {file}", markup=False, highlight=False, soft_wrap=True)
            board.console.print(file.read_text(), markup=False, highlight=False, soft_wrap=True)

    def _script(self, array: Array, study: Study, folder: Path, launch: str) -> Path:
        return script.write(array, study, folder, launch=launch, attempts=self.attempts, throttle=self.jobs)

    def _submit(
        self, found: Sequence[Array], study: Study, launch: str, waiting: Sequence[Submission], board: Board
    ) -> None:
        """Write all scripts, then submit the arrays, each after those that hold what its cells need."""
        files = {array.name: self._script(array, study, study.path / "slurm" / launch, launch) for array in found}
        job_of = {hash: one.job for one in waiting for hash in one.cells if one.job}
        for array in found:
            hashes, file = [cell.hash for cell in array.cells], files[array.name]
            name = str(file.relative_to(study.path))
            intent = Submission(launch, array.name, array.resource_class, name, hashes, hashes).write(study)
            try:
                job = commands.submit(file, after=list(_needed(array, job_of)))
            except commands.NoAnswer:
                intent.without(hashes, "ended").write(study)
                raise
            replace(intent, job=job, state="submitted").write(study)
            job_of |= dict.fromkeys(hashes, job)
            board.say(f"submitted {len(hashes)} cells as job {job}: {file}")


def _needed(array: Array, job_of: dict[str, str]) -> Iterator[str]:
    """The jobs in the queue that hold what an array's cells need."""
    yield from dict.fromkeys(job_of[hash] for cell in array.cells for hash in cell.needs if hash in job_of)

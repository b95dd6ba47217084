"""What was handed to SLURM: a record for each array, ``submissions/LAUNCH-NAME.json``. Imports no torch.

A record is written before ``sbatch`` is called (state "submitting", no job) and completed after it. Whoever dies in
between leaves an intent, which the next look at the queue completes by the job's comment, or ends where there is no
such job. ``cells`` are those that are still expected to run, ``tasks`` are all, by array index.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from experiments.files import read_json, write_json
from experiments.grid.study import Study

ENDED = ("ended", "cancelled")


@dataclass(frozen=True)
class Submission:
    """One array. ``state`` is submitting, submitted, cancelled or ended."""

    launch: str
    name: str
    resource_class: str
    script: str
    tasks: list[str]
    cells: list[str]
    submitted: float = field(default_factory=time.time)
    launcher: str = "slurm"
    job: str | None = None
    state: str = "submitting"

    @property
    def comment(self) -> str:
        """By which the job is known in the queue, whether or not its number is."""
        return f"{self.launch}/{self.name}"

    def open_tasks(self, hashes: Collection[str] | None = None) -> Iterator[tuple[str, int]]:
        """(Job, array index) of the cells that are still expected to run; of some of them only, if asked."""
        expected = set(self.cells)
        for index, hash in enumerate(self.tasks):
            if self.job is not None and hash in expected and (hashes is None or hash in hashes):
                yield self.job, index

    def write(self, study: Study) -> Submission:
        folder = study.path / "submissions"
        folder.mkdir(exist_ok=True)
        write_json(folder / f"{self.launch}-{self.name}.json", asdict(self))
        return self

    def without(self, hashes: Collection[str], state: str) -> Submission:
        """When some of its cells are no more expected; ``state`` is its own when none is left."""
        cells = [hash for hash in self.cells if hash not in hashes]
        return replace(self, cells=cells, state=self.state if cells else state)


def read(study: Study) -> list[Submission]:
    """The records of arrays that have not ended, the oldest first."""
    found = (_read(file) for file in (study.path / "submissions").glob("*.json"))
    left = [one for one in found if one is not None and one.state not in ENDED]
    return sorted(left, key=lambda one: one.submitted)


def _read(file: Path) -> Submission | None:
    record: dict[str, Any] = read_json(file) or {}
    return Submission(**record) if record.get("launcher") == "slurm" else None


def compare(study: Study, queue: Mapping[tuple[str, int], str]) -> list[Submission]:
    """Bring the records in step with the queue; those that have not ended."""
    left: list[Submission] = []
    jobs = {comment: job for (job, _), comment in queue.items()}
    for one in read(study):
        now = one
        if now.job is None and now.comment in jobs:
            now = replace(now, job=jobs[now.comment], state="submitted")
        waiting = {now.tasks[index] for job, index in now.open_tasks() if (job, index) in queue}
        now = now.without(set(now.cells) - waiting, "ended")
        if now != one:
            now.write(study)
        if now.state not in ENDED:
            left.append(now)
    return left

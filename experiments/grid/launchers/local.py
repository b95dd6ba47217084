"""Workers on this machine: processes that take cell after cell, watched by the one that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import IO, ClassVar

from experiments.claims import bury
from experiments.errors import Interrupted, RunFailed
from experiments.grid.board import Board
from experiments.grid.hints import note, told
from experiments.grid.launchers.devices import devices, devices_asked
from experiments.grid.states import OPEN, CellState
from experiments.grid.study import Cell, Study, names
from experiments.grid.taking import put_right

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
WORKER = (sys.executable, "-P", "-m", "experiments.grid.worker")
POLL_EVERY = 0.5
FRUITLESS = 3


@dataclass(frozen=True)
class Local:
    """Runs cells in worker processes on this machine.

    Where there are GPUs each worker sees one of them (as many as the cells' ``trainer.devices`` ask for) and no other.

    Args:
        jobs: how many workers; None takes one for each core, or ``per_device`` for each GPU.
        threads: how many threads each of them may use; None shares the cores among them. A cell whose
            ``trainer.threads`` says a number gets that one.
        attempts: how often a cell may fail before this launch leaves it alone. A run that ends as failed by itself
            (exit code 3) counts as all of them: it would fail again.
        per_device: how many workers share a GPU.
        fail_fast: whether the first cell that is given up ends the launch; the others are interrupted in good order.
    """

    version: ClassVar[int] = 1

    jobs: int | None = None
    threads: int | None = None
    attempts: int = 2
    per_device: int = 1
    fail_fast: bool = False

    def __post_init__(self) -> None:
        for name in ("jobs", "threads", "attempts", "per_device"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")

    def launch(self, study: Study, board: Board) -> int:
        """Run what is left of a study. Returns 0 (all done), 3 (some cell failed) or 75 (stopped)."""
        put_right(study)
        with _Crew(self, study, board) as crew:
            return crew.work()


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    slot: int
    told: int = 0


@dataclass
class _Crew:
    """The workers of one launch."""

    launcher: Local
    study: Study
    board: Board
    launch: str = field(default_factory=lambda: f"{time.strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:6]}")
    workers: list[_Worker] = field(default_factory=list)
    fruitless: int = 0
    stops: int = 0
    failed_fast: bool = False
    groups: list[str] = field(default_factory=list)  # devices that one worker sees

    def __post_init__(self) -> None:
        found, width = devices(self.study), devices_asked(self.study)
        self.groups = [",".join(found[i : i + width]) for i in range(0, len(found) - width + 1, width)]

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            os.killpg(worker.process.pid, signal.SIGKILL)
            worker.process.wait()
            worker.log.close()

    def work(self) -> int:
        with self._listening():
            while True:
                self._reap()
                began = time.monotonic()
                self.study.refresh()  # another launch may have planned the grid anew
                states = list(self.study.states())
                self.board.show(states)
                free = [cell for cell, state in states if self._free(state)]
                elsewhere = sum(state.state == "running" for _, state in states)
                if self.launcher.fail_fast and not self.stops:
                    self._fail_fast(states)
                if self.stops:
                    if not self.workers:
                        return RunFailed.exit_code if self.failed_fast else Interrupted.exit_code
                    self._pass_on()
                elif not free and not elsewhere and not self.workers:
                    return self._verdict(states)
                else:
                    self._man(free, states)
                time.sleep(max(POLL_EVERY, 5 * (time.monotonic() - began)))

    def _verdict(self, states: list[tuple[Cell, CellState]]) -> int:
        return 0 if all(state.state in ("done", "cancelled") for _, state in states) else RunFailed.exit_code

    def _free(self, state: CellState) -> bool:
        if not state.ready or state.given_up(self.launch, self.launcher.attempts):
            return False
        return state.state in (*OPEN, "failed")

    def _fail_fast(self, states: list[tuple[Cell, CellState]]) -> None:
        failed = [c.name for c, state in states if state.state == "failed" and not self._free(state)]
        if failed:
            self.failed_fast, self.stops = True, 1
            self.board.say(f"{failed[0]} failed: no other cell is begun (--fail-fast)")

    def _man(self, free: list[Cell], states: list[tuple[Cell, CellState]]) -> None:
        """Start workers until there are as many as there are jobs, or cells that they could work on."""
        ours = {worker.process.pid for worker in self.workers}
        busy = sum(
            state.state == "running" and bool(state.history) and state.history[-1].owner.get("pid") in ours
            for _, state in states
        )
        wanted = min(self.jobs, busy + len(free))
        while len(self.workers) < wanted:
            self.workers.append(self._start())

    @property
    def jobs(self) -> int:
        return self.launcher.jobs or len(self.groups) * self.launcher.per_device or _cores()

    def _start(self) -> _Worker:
        threads = self.launcher.threads or max(1, _cores() // self.jobs)
        command = [*WORKER, str(self.study.path)]
        command += ["--launch", self.launch, "--attempts", str(self.launcher.attempts)]
        slot = min(set(range(self.jobs)) - {worker.slot for worker in self.workers})
        seen = {"CUDA_VISIBLE_DEVICES": self.groups[slot % len(self.groups)]} if self.groups else {}
        log = open(self.study.logs / f"workers-{self.launch}.log", "ab")  # noqa: SIM115 (closed when the worker ends)
        process = subprocess.Popen(
            command,
            env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)), **seen},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the launcher alone, which passes it on once
        )
        return _Worker(process, log, slot)

    def _reap(self) -> None:
        """Take note of the workers that ended, and mark the cells of those that died."""
        for worker in list(self.workers):
            code = worker.process.poll()
            if code is None:
                continue
            self.workers.remove(worker)
            worker.log.close()
            if code in (0, Interrupted.exit_code) or self.stops:
                continue
            how = f"the worker died ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"
            buried = [cell.name for cell in self._cells_of(worker.process.pid, how)]
            self.fruitless = 0 if buried else self.fruitless + 1
            self.board.say(f"{how}: {', '.join(buried) or 'it had no cell'}")
            if self.fruitless == FRUITLESS:
                raise RunFailed(f"{FRUITLESS} workers died before they had a cell; see {worker.log.name}")

    def _cells_of(self, pid: int, how: str) -> Iterator[Cell]:
        """Write into the claims of a dead worker how they ended."""
        claimed, ended = names(self.study.path / "claims"), told(self.study)
        for cell in self.study.cells:
            if cell.hash in claimed and cell.hash not in ended:
                outcome = "done" if self.study.is_done(cell) else "died"
                if bury(self.study.claims(cell), pid, how, outcome):
                    note(self.study, cell, cell.evaluation if outcome == "done" else outcome)
                    yield cell

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """The first SIGINT or SIGTERM asks the workers to stop, the second kills them."""
        before = {name: signal.signal(name, self._on_signal) for name in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.stops += 1

    def _pass_on(self) -> None:
        """Tell every worker of the stops that it has not heard of: first SIGTERM, then death to it and its children."""
        if not any(worker.told for worker in self.workers):
            self.board.say("stopping: the workers write their checkpoints; Ctrl-C again kills them")
        for worker in self.workers:
            if worker.told < 1:
                worker.process.terminate()
            if self.stops > 1 and worker.told < 2:
                os.killpg(worker.process.pid, signal.SIGKILL)
            worker.told = self.stops


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

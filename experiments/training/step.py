"""Training on the tasks of a SLURM step, over one node or several: each task that ``srun`` starts is a rank.

All tasks start alike. Rank 0 has the run: it alone makes the folder, holds the claim, writes, evaluates, and tells the
scheduler by its exit code how it ended. The others wait for its word, a file ``ranks/JOB.STEP.RESTART.json`` in the
run's folder; they train with it when it says so, and end with 0 when it has ended, so that one exit code stands.
Imports no torch before there is something to train.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.claims import INHERITED, inherited
from experiments.console import Reporter
from experiments.errors import Ended, Interrupted, RunFailed, UserError, failure_of
from experiments.files import read_json, write_json
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training import heartbeat

GRACE = 20.0  # seconds for which a rank that failed waits for rank 0 to say why, or to fail as well
STARTING = 10  # times the silence that is allowed later is allowed before the first step: data are read, code compiled
LOOK_EVERY = 0.2


@dataclass(frozen=True)
class Step:
    """One task of a step of several: its number, how many there are, its place on its node, and the step's name."""

    rank: int
    tasks: int
    local_rank: int
    node: int
    name: str

    @classmethod
    def current(cls) -> Step | None:
        """The task that this process is; None where ``srun`` did not start it, or started it alone."""
        told = os.environ.get
        tasks = int(told("SLURM_NTASKS") or 1)
        if tasks == 1 or "SLURM_STEP_ID" not in os.environ:
            return None
        name = f"{told('SLURM_JOB_ID')}.{told('SLURM_STEP_ID')}.{told('SLURM_RESTART_COUNT') or 0}"
        return cls(
            int(os.environ["SLURM_PROCID"]),
            tasks,
            int(os.environ["SLURM_LOCALID"]),
            int(os.environ["SLURM_NODEID"]),
            name,
        )

    def word(self, run: Path) -> Path:
        """The file in which rank 0 speaks to the others."""
        return run / "ranks" / f"{self.name}.json"

    def last_words(self, run: Path, rank: int) -> Path:
        """The file in which another rank says why it failed."""
        return run / "ranks" / f"{self.name}.{rank}.json"

    def enter(self, port: int) -> None:
        """Tell torch and Lightning where this process stands among the ranks, and where rank 0 listens."""
        os.environ |= {
            "MASTER_ADDR": os.environ.get("MASTER_ADDR") or os.environ.get("SLURM_LAUNCH_NODE_IPADDR") or "127.0.0.1",
            "MASTER_PORT": str(port), "NODE_RANK": str(self.node), "LOCAL_RANK": str(self.local_rank),
            "WORLD_SIZE": str(self.tasks),
        }  # fmt: skip


def step_for(processes: int, nodes: int) -> Step | None:
    """This process's task, if the run's ranks are the tasks of a step; None if we start them ourselves.

    Raises:
        UserError: ``srun`` started another number of tasks than the run has ranks, or none where it must.
    """
    step = Step.current()
    if step is None and nodes > 1:
        raise UserError(
            f"trainer.nodes={nodes} needs SLURM: start it by `srun --nodes={nodes} --ntasks={processes} fewstep …`, "
            "one task for each process, or as a grid with --launcher slurm"
        )
    if step is not None and step.tasks != processes:
        raise UserError(
            f"srun started {step.tasks} tasks, but trainer.nodes × trainer.devices is {processes}: a task is a process"
        )
    return step


# -- rank 0 -----------------------------------------------------------------------------------------------------------


@contextmanager
def leading(run: Path) -> Iterator[None]:
    """Around everything that rank 0 does with a run: when it ends, however, the others hear of it."""
    step = Step.current()
    try:
        yield
    finally:
        if step is not None:
            _speak(step, run, {"over": True})


def fit_with_followers(run: Run, step: Step, *, stop: Stop, reporter: Reporter) -> None:
    """Train ``run`` as rank 0 of a step, with all its other tasks. Raises as ``fit`` does."""
    from experiments.training.fit import fit

    for old in (run.path / "ranks").glob("*.json"):
        if not old.name.startswith(f"{step.name}."):
            old.unlink(missing_ok=True)
    port = _free_port()
    step.enter(port)
    _speak(step, run.path, {"port": port, "claim": os.environ.get(INHERITED)})
    try:
        with _watched(run, step):
            fit(run, stop=stop, reporter=reporter)
    except Interrupted:
        _leave()
        raise
    except Ended:
        raise
    except Exception as error:
        if words := _words(step, run.path):
            raise RunFailed(words["message"], words.get("reason")) from error
        raise
    _leave()


def _speak(step: Step, run: Path, words: dict[str, Any]) -> None:
    file = step.word(run)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, words)


def _words(step: Step, run: Path) -> dict[str, Any] | None:
    """Why another rank failed, if one says so soon: what rank 0 saw was perhaps only that it was gone."""
    deadline = time.monotonic() + GRACE / 4
    while True:
        for rank in range(1, step.tasks):
            if words := read_json(step.last_words(run, rank)):
                return words
        if time.monotonic() > deadline:
            return None
        time.sleep(LOOK_EVERY)


def _leave() -> None:
    """Leave the group of ranks: what follows is done by this process alone."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
    for name in ("MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE"):
        os.environ.pop(name, None)


# -- the others -------------------------------------------------------------------------------------------------------


def follow(run: Path, step: Step, stop: Stop) -> int:
    """Do what rank 0 says, as another rank of the run in this folder; the exit code.

    A stop is no reason to leave before rank 0 has spoken: it might be waiting for us already.
    """
    while (words := read_json(step.word(run))) is None:
        time.sleep(LOOK_EVERY)
    if "over" in words:
        return 0
    if words["claim"]:
        os.environ[INHERITED] = words["claim"]
    step.enter(words["port"])
    try:
        with stop.listening(), _watched(own := open_run(run), step):
            _fit(own, stop)
    except Interrupted:
        _leave()
        return 0
    except Exception as error:
        failure = error if isinstance(error, Ended) else failure_of(error)
        if failure is None:
            traceback.print_exc()
        else:
            told = {"message": str(failure), "reason": getattr(failure, "reason", None)}
            write_json(step.last_words(run, step.rank), told)
        return _wait_for_the_end(run, step)
    _leave()
    return 0


def _fit(run: Run, stop: Stop) -> None:
    from experiments.training.fit import fit

    fit(run, stop=stop, reporter=Reporter("none"))


def open_run(path: Path) -> Run:
    """A run in a process that its owner started: it writes under the owner's claim."""
    run = Run.open(path)
    run.fence = inherited()
    return run


def _wait_for_the_end(run: Path, step: Step) -> int:
    """0 once rank 0 has ended too; 1 if it hangs, so that the scheduler ends all."""
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline:
        if "over" in (read_json(step.word(run)) or {}):
            return 0
        time.sleep(LOOK_EVERY)
    return 1


# -- all --------------------------------------------------------------------------------------------------------------


@contextmanager
def _watched(run: Run, step: Step) -> Iterator[None]:
    """End this process if it gives no sign of life for ``trainer.rank_timeout`` seconds; then SLURM ends the others."""
    over, began, timeout = threading.Event(), time.monotonic(), run.config.trainer.rank_timeout

    def watch() -> None:
        while not over.wait(min(1.0, timeout / 4)):
            last = heartbeat.last_beat()
            silence = time.monotonic() - max(last or 0.0, began)
            if silence > (timeout if last and last > began else STARTING * timeout):
                message = f"Rank {step.rank} of {step.tasks} has shown no sign of life for {silence:.0f} s"
                print(message, file=sys.stderr, flush=True)
                write_json(step.last_words(run.path, step.rank), {"message": message})
                os._exit(1)

    thread = threading.Thread(target=watch, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]

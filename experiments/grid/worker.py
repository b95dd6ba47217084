"""A worker: one process that takes cell after cell of a study. Imports torch once it has a cell, not before.

``python -P -m experiments.grid.worker STUDY`` ends with 0 when nothing is left for it, and with 75 when it was told to
stop (SIGTERM, SIGINT, SIGUSR2, or the death of the launcher that started it) or lost its claim. With ``--cell HASH`` it
runs that cell and no other, and ends with 0 (done, or in other hands), 3 (failed), 75 (interrupted: goes on when it is
started again) or 76 (what the cell needs is not done).
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments import claims
from experiments.claims import Claim, ClaimLost, Heartbeat
from experiments.errors import Ended, Interrupted, RunFailed, UserError
from experiments.grid.hints import note
from experiments.grid.orders import Cancelled
from experiments.grid.study import Cell, Study
from experiments.grid.taking import Taker
from experiments.stopping import Stop

OUTCOME_OF = {0: "done", RunFailed.exit_code: "failed", Interrupted.exit_code: "interrupted"}
WAITS = 76
"""Exit code of ``--cell`` where the cell needs others that are not done."""
WAIT_EVERY = 1.0


def work(taker: Taker, stop: Stop) -> int:
    """Take cells until none is left (0) or until a stop is asked for or a claim is lost (75)."""
    while not stop.requested:
        taken = taker.take()
        if taken is not None:
            if run_cell(taker.study, *taken, stop) is None:
                return Interrupted.exit_code
        elif taker.waiting():
            time.sleep(WAIT_EVERY)
        else:
            return 0
    return Interrupted.exit_code


def work_on(taker: Taker, cell: Cell, stop: Stop) -> int:
    """Run one cell; the exit code, as the module says."""
    study = taker.study
    while not stop.requested:
        taken = taker.take_this(cell)
        if taken is not None:
            outcome = run_cell(study, *taken, stop)
            return {"done": 0, "failed": RunFailed.exit_code}.get(outcome or "", Interrupted.exit_code)
        state = study.state(cell)
        if state.state in ("done", "cancelled"):
            return 0
        if state.last is None or not state.last.live:
            if not study.ready(cell, study.look()):
                print(f"{cell.name}: {state.message}")
                return WAITS
        elif _beats(study, cell, stop):
            print(f"{cell.name} is in the hands of {state.last.owner.get('machine')}, {state.last.owner.get('pid')}")
            return 0
    return Interrupted.exit_code


def _beats(study: Study, cell: Cell, stop: Stop) -> bool:
    """Whether the owner of a cell gives another sign of life before it counts as gone."""
    before = claims.latest(study.claims(cell))
    while before is not None and not stop.requested:
        time.sleep(WAIT_EVERY)
        now = claims.latest(study.claims(cell))
        if now is None or not now.live:
            return False
        if now.number != before.number or now.age < before.age:
            return True
    return False


def run_cell(study: Study, cell: Cell, held: Claim, stop: Stop) -> str | None:
    """Run a cell under a claim, its output going to its log; the outcome, None where the claim was lost."""
    order = Cancelled(study, held, stop)
    with printing_to(study.log(cell)), Heartbeat(held, look=order.look), order.listening():
        print(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {cell.name}: claim {held.number}, process {os.getpid()}")
        os.environ[claims.INHERITED] = f"{held.folder}:{held.number}"
        try:
            outcome = _to_its_end(study, cell, held, stop)
        except ClaimLost as lost:
            print(lost)
            return None
        finally:
            del os.environ[claims.INHERITED]
            order.obeyed()
    note(study, cell, cell.evaluation if outcome == "done" else outcome)
    gc.collect()
    return outcome


def _to_its_end(study: Study, cell: Cell, held: Claim, stop: Stop) -> str:
    """Run a cell to its end under a claim, and end the claim with what came of it."""
    final, message, reason, facts = False, None, None, dict[str, Any]()
    try:
        facts["start_up"] = warm_up()
        code = _execute(study, cell, held, stop)
        outcome = OUTCOME_OF.get(code, "failed")
        if outcome == "failed":
            status = study.run(cell).status
            final, message, reason = True, status.get("message") or f"exit code {code}", status.get("reason")
    except ClaimLost:
        raise
    except Ended as ended:
        outcome, final, message = OUTCOME_OF.get(ended.exit_code, "failed"), True, str(ended)
        reason = getattr(ended, "reason", None)
    except Exception as error:
        traceback.print_exc()
        outcome, message = "failed", f"{type(error).__name__}: {error}"
    if outcome == "interrupted" and _preempted(stop):
        facts["preempted"] = True
    held.end(outcome, message, final=final, reason=reason, **facts)
    return outcome


def warm_up() -> float:
    """Import what cells need, torch above all; the seconds that it took, which are none after the first time."""
    began = time.monotonic()
    if "experiments.training.fit" not in sys.modules:
        gc.disable()  # to look for garbage among what is imported takes a fifth of the time
        import experiments.evaluation.evaluate
        import experiments.training.fit  # noqa: F401

        gc.freeze()  # what is imported stays: the collection after each cell need not walk over it (0.2 s)
        gc.enable()
    return time.monotonic() - began


def _preempted(stop: Stop) -> bool:
    """Whether it was a scheduler that asked for the stop: by SIGUSR2, or by SIGTERM inside one of its jobs."""
    return stop.signal == signal.SIGUSR2 or (stop.signal == signal.SIGTERM and "SLURM_JOB_ID" in os.environ)


def _execute(study: Study, cell: Cell, held: Claim, stop: Stop) -> int:
    from experiments.execute import execute
    from experiments.grid.planning import configure
    from experiments.runs import Run

    config = configure(study.base, cell.overrides)
    if config.hash != cell.hash:
        raise RunFailed(
            f"the code or a plugin has changed since the plan was made: {cell.name} was {cell.hash} and is now "
            f"{config.hash}. Run the grid again: it plans anew."
        )
    held.check()
    run = Run.create(config, study.runs, fence=held.check)
    return execute(run, progress="lines", stop=stop)


@contextmanager
def printing_to(file: Path) -> Iterator[None]:
    """Send what this process prints, its C libraries and its children included, to the end of ``file``."""
    sys.stdout.flush()
    sys.stderr.flush()
    file.parent.mkdir(parents=True, exist_ok=True)
    saved = os.dup(1), os.dup(2)
    with open(file, "ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in enumerate(saved, start=1):
            os.dup2(copy, number)
            os.close(copy)


class Orphaned(threading.Thread):
    """Asks for a stop when the process that started this one is gone: a killed launcher leaves no workers behind."""

    def __init__(self, stop: Stop, every: float = 1.0):
        super().__init__(name="orphaned", daemon=True)
        self._stop_flag, self._every, self._parent = stop, every, os.getppid()

    def run(self) -> None:
        while os.getppid() == self._parent:
            time.sleep(self._every)
        self._stop_flag.requested, self._stop_flag.signal = True, signal.SIGHUP


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="experiments.grid.worker", description="Take cell after cell of a study.")
    parser.add_argument("study", type=Path)
    parser.add_argument("--launch", default=f"by-hand-{os.getpid()}", help="the launch whose failures count")
    parser.add_argument("--attempts", type=int, default=1, help="how often a cell may fail in this launch")
    parser.add_argument("--cell", metavar="HASH", help="run this cell and no other")
    parser.add_argument("--job", help="the scheduler's job: what an earlier start of it claimed is taken over at once")
    options = parser.parse_args(arguments)
    study, stop = Study.open(options.study), Stop()
    taker = Taker(study, launch=options.launch, attempts=options.attempts, job=options.job)
    signal.signal(claims.LOOK_NOW, signal.SIG_IGN)  # between two cells
    with stop.listening():
        if options.cell is None:
            Orphaned(stop).start()
            return work(taker, stop)
        cell = study.cell(options.cell)
        if cell is None:
            raise UserError(f"--cell {options.cell}: {study.path} has no such cell")
        return work_on(taker, cell, stop)


if __name__ == "__main__":
    try:
        code = main()
    except Ended as ended:
        print(ended, file=sys.stderr)
        code = ended.exit_code
    sys.exit(code)

"""A worker: one process that takes cell after cell of a study. Imports torch once it has a cell, not before.

``python -P -m experiments.grid.worker STUDY`` ends with 0 when nothing is left for it, and with 75 when it was told to
stop (SIGTERM, SIGINT, or the death of the launcher that started it) or lost its claim.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experiments.errors import Ended, Interrupted, RunFailed
from experiments.grid.claims import Claim, ClaimLost, Heartbeat, claim
from experiments.grid.study import Cell, Study
from experiments.stopping import Stop

OUTCOME_OF = {0: "done", RunFailed.exit_code: "failed", Interrupted.exit_code: "interrupted"}


def take(study: Study, *, launch: str, attempts: int) -> tuple[Cell, Claim] | None:
    """Claim the first cell that is free: the untouched and the interrupted ones in their order, then the failed ones.

    None when every cell is done, in somebody's hands, or given up under this launch.
    """
    failed: list[Cell] = []
    for cell, state in study.states():
        if state.given_up(launch, attempts):
            continue
        if state.state == "failed":
            failed.append(cell)
        elif state.state in ("pending", "interrupted") and (held := _claim(study, cell, launch)):
            return cell, held
    for cell in failed:
        if held := _claim(study, cell, launch):
            return cell, held
    return None


def _claim(study: Study, cell: Cell, launch: str) -> Claim | None:
    """The claim on a cell, unless another was quicker or finished it in the meantime."""
    held = claim(study.claims(cell), launch=launch)
    if held is not None and study.state(cell).state == "done":
        held.end("released", "was done already")
        return None
    return held


def work(study: Study, *, launch: str, attempts: int, stop: Stop) -> int:
    """Take cells until none is left (0) or until a stop is asked for or a claim is lost (75)."""
    while not stop.requested:
        taken = take(study, launch=launch, attempts=attempts)
        if taken is None:
            return 0
        cell, held = taken
        with printing_to(study.log(cell)), Heartbeat(held):
            print(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {cell.name}: claim {held.number}, process {os.getpid()}")
            try:
                run_cell(study, cell, held, stop)
            except ClaimLost as lost:
                print(lost)
                return Interrupted.exit_code
        gc.collect()
    return Interrupted.exit_code


def run_cell(study: Study, cell: Cell, held: Claim, stop: Stop) -> None:
    """Run a cell to its end under a claim, and end the claim with what came of it."""
    final = False
    try:
        code, message = _execute(study, cell, held, stop), None
        outcome = OUTCOME_OF.get(code, "failed")
        if outcome == "failed":
            final, message = True, study.run(cell).status.get("message") or f"exit code {code}"
    except ClaimLost:
        raise
    except Ended as ended:
        outcome, final, message = OUTCOME_OF.get(ended.exit_code, "failed"), True, str(ended)
    except Exception as error:
        traceback.print_exc()
        outcome, message = "failed", f"{type(error).__name__}: {error}"
    held.end(outcome, message, final=final)


def _execute(study: Study, cell: Cell, held: Claim, stop: Stop) -> int:
    from experiments.execute import execute
    from experiments.grid.planning import configure
    from experiments.runs import Run

    assert study.plan is not None
    config = configure(study.plan["base"], cell.overrides)
    if config.hash != cell.hash:
        raise RunFailed(
            f"the code or a plugin has changed since the plan was made: {cell.name} was {cell.hash} and is now "
            f"{config.hash}. Run the grid again: it plans anew."
        )
    held.check()
    run = Run.create(config, study.runs)
    run.fence = held.check
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
        self._stop_flag.requested = True


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="experiments.grid.worker", description="Take cell after cell of a study.")
    parser.add_argument("study", type=Path)
    parser.add_argument("--launch", default=f"by-hand-{os.getpid()}", help="the launch whose failures count")
    parser.add_argument("--attempts", type=int, default=1, help="how often a cell may fail in this launch")
    options = parser.parse_args(arguments)
    stop = Stop()
    Orphaned(stop).start()
    with stop.listening():
        return work(Study.open(options.study), launch=options.launch, attempts=options.attempts, stop=stop)


if __name__ == "__main__":
    sys.exit(main())

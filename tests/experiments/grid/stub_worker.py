"""A worker whose cells do what their override ``stub`` says, in place of training; each leaves a line in ``trace``."""

from __future__ import annotations

import os
import signal
import sys
import time

from experiments.claims import Claim
from experiments.errors import RunFailed
from experiments.grid import worker
from experiments.grid.study import Cell, Study
from experiments.stopping import Stop


def execute(study: Study, cell: Cell, held: Claim, stop: Stop) -> int:
    """Steps of 20 ms with a status after each; what ``stub`` says happens half-way."""
    run = study.run(cell)
    run.path.mkdir(parents=True, exist_ok=True)
    run.fence = held.check
    with open(study.path / "trace", "a") as trace:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "-")
        trace.write(f"{cell.name} {held.number} {os.getpid()} {os.environ['OMP_NUM_THREADS']} {seen}\n")
    print(f"this is {cell.name}")
    behaviour = cell.overrides.get("stub", "")
    first = run.status["step"]
    for step in range(first + 1, cell.max_steps + 1):
        if step == cell.max_steps // 2:
            if behaviour == "die" or (behaviour == "die once" and held.number == 1):
                os.kill(os.getpid(), signal.SIGKILL)
            if behaviour == "fail":
                raise RunFailed("the loss is not finite")
            if behaviour == "not finite once" and held.number == 1:
                raise RunFailed("the loss is not finite", "not finite")
            if behaviour == "raise":
                raise ZeroDivisionError("a fault of ours")
        time.sleep(0.02)
        run.write_status("running", step=step, max_steps=cell.max_steps, first=first)
        if stop.requested:
            run.write_status("interrupted", step=step)
            return 75
    run.mark_done(step=cell.max_steps, evaluations=[cell.evaluation])
    return 0


if __name__ == "__main__":
    worker._execute = execute  # type: ignore[assignment]
    worker.warm_up = lambda: 0.0  # nothing needs torch
    sys.exit(worker.main())

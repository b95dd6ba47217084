"""What runs inside a job: ``python -P -m experiments.grid.launchers.slurm.task STUDY CELL --launch … --nodes N``.

``srun`` starts it once for each process of the cell. It runs that one cell as any worker does, under a claim, and ends
with 0 (done, cancelled, or in other hands), 2 (wrong input), 3 (failed for good), 75 (to be continued: put the job back
into the queue) or another number (died). The batch script asks ``--died CODE`` afterwards whether a cell whose worker
died may be tried again.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from experiments import claims
from experiments.errors import Ended, Interrupted, RunFailed, UserError
from experiments.files import write_json
from experiments.grid.hints import note
from experiments.grid.study import Cell, Study
from experiments.grid.taking import Taker
from experiments.grid.worker import WAITS, printing_to, work_on
from experiments.stopping import Stop
from experiments.training.step import Step, follow, leading

DIED = 1


def job() -> str | None:
    """The array task that this process belongs to, the same after each requeue."""
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{index}" if array and index else os.environ.get("SLURM_JOB_ID")


def lead(taker: Taker, cell: Cell, stop: Stop) -> int:
    """Run the cell as its only process, or as rank 0; the exit code, as the module says."""
    study = taker.study
    with leading(study.run(cell).path):
        _settle(study, cell, taker.job)
        code = work_on(taker, cell, stop)
    state = study.state(cell)
    if code == WAITS:
        return _waits(study, cell)
    if state.state == "cancelled":
        return 0
    if code == RunFailed.exit_code and not state.given_up(taker.launch, taker.attempts):
        return DIED
    return code


def _settle(study: Study, cell: Cell, job: str | None) -> None:
    """Say of claims that earlier starts of this job left open that the scheduler ended them: its nodes went down, or it
    was requeued at once. That is no failure of the cell."""
    folder = study.claims(cell)
    for one in claims.history(folder):
        if job is not None and one.outcome is None and one.owner.get("job") == job:
            facts = {"outcome": "interrupted", "preempted": True, "message": "the job was ended, and started anew"}
            write_json(claims.Claim(folder, one.number, one.owner).file, {**one.owner, **facts})


def _waits(study: Study, cell: Cell) -> int:
    """What becomes of a cell whose needs are not done: back into the queue while somebody works on them."""
    seen = study.look()
    states = [study.state(needed, seen).state for needed in map(study.cell, cell.needs) if needed is not None]
    if not study.blocked(cell, seen) and any(state not in ("done", "pending", "interrupted") for state in states):
        return Interrupted.exit_code
    print(f"{cell.name}: nobody works on what it needs")
    return RunFailed.exit_code


def died(taker: Taker, cell: Cell, code: int) -> int:
    """Write into the claim that this job's worker left how it died; 0 if the cell may be tried again, else 3."""
    study, folder = taker.study, taker.study.claims(cell)
    for one in claims.history(folder):
        if one.outcome is None and one.owner.get("job") == taker.job:
            facts = {"outcome": "died", "message": f"the worker died (exit code {code})"}
            write_json(claims.Claim(folder, one.number, one.owner).file, {**one.owner, **facts})
            note(study, cell, "died")
    state = study.state(cell)
    over = state.state in ("done", "cancelled") or state.given_up(taker.launch, taker.attempts)
    return RunFailed.exit_code if over else 0


def main(arguments: list[str] | None = None) -> int:
    stop = Stop()
    stop.install()
    parser = argparse.ArgumentParser(prog="experiments.grid.launchers.slurm.task", description="Run one cell in a job.")
    parser.add_argument("study", type=Path)
    parser.add_argument("cell", metavar="HASH")
    parser.add_argument("--launch", required=True, help="the launch whose failures count")
    parser.add_argument("--attempts", type=int, default=1, help="how often the cell may die in this launch")
    parser.add_argument("--nodes", type=int, default=1, help="in place of trainer.nodes")
    parser.add_argument("--devices", type=int, default=1, help="in place of trainer.devices")
    parser.add_argument(
        "--died", type=int, metavar="CODE", help="the task ended with CODE: may the cell be tried again?"
    )
    options = parser.parse_args(arguments)
    study = Study.open(options.study)
    cell = study.cell(options.cell)
    if cell is None:
        raise UserError(f"{study.path} has no cell {options.cell} any more: the grid was planned anew")
    processes = {"trainer.nodes": options.nodes, "trainer.devices": options.devices}
    cell = replace(cell, overrides={**cell.overrides, **processes})
    taker = Taker(study, launch=options.launch, attempts=options.attempts, job=job())
    if options.died is not None:
        return died(taker, cell, options.died)
    step = Step.current()
    if step is not None and step.rank:
        with printing_to(study.log(cell)):
            return follow(study.run(cell).path, step, stop)
    return lead(taker, cell, stop)


if __name__ == "__main__":
    try:
        code = main()
    except Ended as ended:
        print(ended, file=sys.stderr)
        code = ended.exit_code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a process group whose other ranks have died would hang in its own destructor

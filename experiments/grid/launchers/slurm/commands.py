"""SLURM's commands, each with a time within which it answers. Nothing asks the accounting."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from experiments.errors import UserError

PATIENCE = 20.0
"""Seconds within which a command must answer, unless its caller has less patience."""
MANY = 500
"""Array tasks that are named in one command."""


class NoAnswer(UserError):
    """SLURM is not installed here, refused, or did not answer in time."""


def submit(script: Path, *, after: Sequence[str] = ()) -> str:
    """Submit a batch script; the job's number. It waits until all of ``after`` have ended, well or badly."""
    dependency = [f"--dependency=afterany:{':'.join(after)}"] if after else []
    told = _call("sbatch", "--parsable", *dependency, str(script))
    return told.strip().splitlines()[-1].partition(";")[0]


def queued(patience: float | None = None) -> dict[tuple[str, int], str]:
    """(Job, array index) of this user's tasks that are waiting or running -> the comment with which they came."""
    told = _call("squeue", "--me", "--array", "--noheader", "--format=%F|%K|%k", patience=patience)
    rows = (line.strip().split("|", 2) for line in told.splitlines())
    return {(row[0], int(row[1])): row[2] for row in rows if len(row) == 3 and row[1].isdigit()}


def cancel(tasks: Iterable[tuple[str, int]]) -> None:
    """Take array tasks out of the queue, and end those that run."""
    names = [f"{job}_{index}" for job, index in tasks]
    for start in range(0, len(names), MANY):
        _call("scancel", *names[start : start + MANY])


def _call(*command: str, patience: float | None = None) -> str:
    patience = patience or PATIENCE
    # An sbatch inside a job would take that job's SLURM_… variables for options.
    environment = {
        key: value
        for key, value in os.environ.items()
        if key == "SLURM_CONF" or not key.startswith(("SLURM_", "SBATCH_", "SRUN_"))
    }
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=patience
        )
    except FileNotFoundError:
        raise NoAnswer(f"there is no {command[0]} here: SLURM is not installed, or not on the PATH") from None
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"{command[0]} gave no answer within {patience:g} s") from None
    if done.returncode:
        raise NoAnswer(f"{command[0]} refused: {(done.stderr or done.stdout).strip()}")
    return done.stdout

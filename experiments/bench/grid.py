"""What a grid on this machine costs beside its cells: how full the cores are, and what a launcher takes for itself."""

from __future__ import annotations

import io
import itertools
import os
import resource
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from experiments import claims
from experiments.grid.board import Board
from experiments.grid.language import read_grid
from experiments.grid.launchers.local import Local
from experiments.grid.planning import prepare
from experiments.grid.study import Study

GRID = """
name: bench
base:
  data: digits
  trainer: {{max_steps: {steps}, batch_size: 64, threads: 1, trackers: [csv]}}
  evaluation: {{steps: [1, 4], weights: [ema], num: 256}}
product:
  objective: [rf, shortcut]
  backbone: [dit, u-vit, mmdit]
seeds: [{seeds}]
"""


@dataclass(frozen=True)
class Costs:
    """Seconds, but for ``occupancy``: the cells' own time over jobs × ``makespan``.

    ``start_up`` is a worker's, from its process's start to its first cell's, ``between`` the median from one cell's end
    to the next one's start, ``launcher`` the processor time that the launcher itself took for each cell.
    """

    cells: int
    jobs: int
    makespan: float
    cell: float
    occupancy: float
    start_up: float
    between: float
    launcher: float


def measure(folder: Path, *, jobs: int, steps: int, seeds: int = 4) -> Costs:
    """Run 6 × ``seeds`` small cells in ``folder``; raises RuntimeError unless all of them are done."""
    file = folder / "bench.yaml"
    file.write_text(GRID.format(steps=steps, seeds=", ".join(map(str, range(seeds)))))
    study = Study(folder / "study")
    prepare(read_grid(file), study)
    before, began = _processor(), time.monotonic()
    with Board(study, Console(file=io.StringIO())) as board:
        code = Local(jobs=jobs).launch(study, board)
    makespan, launcher = time.monotonic() - began, _processor() - before
    if code:
        raise RuntimeError(f"the grid ended with {code}; its logs are in {study.logs}")
    owners = [claims.history(study.claims(cell))[-1].owner for cell in study.cells]
    times = [owner["ended"] - owner["since"] - owner["start_up"] for owner in owners]
    starts, gaps = list[float](), list[float]()
    for pid in {owner["pid"] for owner in owners}:
        own = sorted((owner for owner in owners if owner["pid"] == pid), key=lambda owner: owner["since"])
        starts.append(own[0]["since"] + own[0]["start_up"] - _born(own[0]["started"]))
        gaps += [after["since"] - first["ended"] for first, after in itertools.pairwise(own)]
    return Costs(
        len(owners), jobs, makespan, statistics.median(times), sum(times) / (jobs * makespan),
        statistics.mean(starts), statistics.median(gaps), launcher / len(owners),
    )  # fmt: skip


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _born(ticks: str) -> float:
    """When a process started, in seconds since the epoch, from the field of /proc/PID/stat."""
    up = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - up + int(ticks) / os.sysconf("SC_CLK_TCK")

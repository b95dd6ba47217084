"""Kill −9 at any moment, the launcher, its workers or both: every cell ends done once, as if nothing had been.

``make chaos`` kills 20 times, the suite three times.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from experiments.claims import history
from experiments.execute import execute
from experiments.files import read_json
from experiments.grid.language import read_grid
from experiments.grid.planning import configure, prepare
from experiments.grid.study import Study
from experiments.runs import Run
from experiments.training import checkpoints
from experiments.training.throughput import MACHINE

KILLS = int(os.environ.get("CHAOS", "3"))
JOBS = 2 if KILLS > 3 else 1
STEPS = 500 if KILLS > 3 else 300
SEEDS = range(2 if KILLS > 3 else 1)
VICTIMS = ("worker", "launcher", "both")
WALL_CLOCK = {f"train/{name}" for name in MACHINE}
GRID = f"""
name: chaos
base:
  data: points
  backbone: {{name: mlp, width: 16}}
  trainer:
    {{max_steps: {STEPS}, batch_size: 16, checkpoint_every: 25, log_every: 10, validate_every: 100, threads: 1}}
  evaluation: {{steps: [1, 4], num: 64, metrics: [frechet_distance]}}
product:
  objective: [rf, shortcut]
seeds: {list(SEEDS)}
"""
LAUNCHER = """
import io, sys
from pathlib import Path
from rich.console import Console
from experiments.grid.board import Board
from experiments.grid.launchers.local import Local
from experiments.grid.study import Study
study = Study.open(Path(sys.argv[1]))
with Board(study, Console(file=io.StringIO())) as board:
    sys.exit(Local(jobs=int(sys.argv[2]), threads=1, attempts=1000).launch(study, board))
"""


def planned(folder: Path) -> Study:
    folder.mkdir()
    (folder / "chaos.yaml").write_text(GRID)
    study = Study(folder / "study")
    prepare(read_grid(folder / "chaos.yaml"), study)
    return study


def launcher(study: Study) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-P", "-c", LAUNCHER, str(study.path), str(JOBS)])


def workers(study: Study) -> list[int]:
    """Process numbers of those that hold cells now."""
    lasts = [history(study.claims(cell)) for cell in study.cells]
    return [claims[-1].owner["pid"] for claims in lasts if claims and claims[-1].live]


def steps(study: Study) -> int:
    return sum(study.run(cell).status["step"] for cell in study.cells)


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def disturb(study: Study, kills: Iterator[int], luck: random.Random) -> int:
    """Run a study to its end, killing on the way; how often that was."""
    done, running = 0, launcher(study)
    try:
        while running.poll() is None:
            target = steps(study) + luck.randrange(STEPS * len(study.cells) // 3)
            patience = time.monotonic() + (luck.uniform(0, 8) if luck.random() < 0.25 else 300)
            while running.poll() is None and steps(study) < target and time.monotonic() < patience:
                time.sleep(0.01)
            if running.poll() is not None or (number := next(kills, None)) is None:
                break
            victim, at_work = VICTIMS[number % len(VICTIMS)], workers(study)
            done += 1
            if victim != "launcher":
                for pid in at_work if victim == "both" else at_work[:1]:
                    kill(pid)
            if victim != "worker":
                kill(running.pid)
                running.wait()
                running = launcher(study)
        assert running.wait(timeout=600) in (0, -signal.SIGKILL)
    finally:
        running.kill()
        running.wait()
    last = launcher(study)
    assert last.wait(timeout=600) == 0
    return done


def outcome(run: Run) -> dict[str, Any]:
    """Everything that must not depend on what happened on the way."""
    found = checkpoints.newest(run.checkpoints)
    assert found.path is not None
    return {
        "state": flat(found.state),
        "metrics": [row for row in run.metrics() if row[1] not in WALL_CLOCK],
        "rows": [{**row, "seconds_per_image": None} for each in run.evaluations() for row in each["rows"]],
        "done": {**(read_json(run.path / "done.json") or {}), "code": None},
    }


def flat(state: Any, path: str = "") -> dict[str, Any]:
    if isinstance(state, dict | list):
        items = state.items() if isinstance(state, dict) else enumerate(state)
        return {name: leaf for key, value in items for name, leaf in flat(value, f"{path}/{key}").items()}
    return {path: (str(state.dtype), state.tolist()) if isinstance(state, torch.Tensor) else state}


def test_a_grid_whose_launcher_and_workers_are_killed_ends_as_one_that_was_left_alone(tmp_path: Path) -> None:
    quiet = planned(tmp_path / "quiet")
    assert quiet.plan is not None
    for cell in quiet.cells:
        assert execute(Run.create(configure(quiet.plan["base"], cell.overrides), quiet.runs)) == 0
    expected = {cell.hash: outcome(quiet.run(cell)) for cell in quiet.cells}
    kills, luck, delivered, number = iter(range(KILLS)), random.Random(0), 0, 0
    while delivered < KILLS:
        study = planned(tmp_path / f"disturbed-{number}")
        number += 1
        delivered += disturb(study, kills, luck)
        for cell in study.cells:
            assert study.state(cell).state == "done"
            assert [one.outcome for one in history(study.claims(cell))].count("done") == 1, cell.name
            found = outcome(study.run(cell))
            for part, value in expected[cell.hash].items():
                assert found[part] == value, (cell.name, part)
    print(f"{delivered} kills over {number} studies of {len(quiet.cells)} cells")

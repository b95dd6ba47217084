"""Kill −9 at any moment: the run goes on by itself and ends bit-identical to one that was never disturbed.

``make chaos`` has 20 runs, the suite three. Two ranks on two processes; forced deaths between write and rename, in
validation and in evaluation, the rest at random moments, of one rank or of both, once or twice in a run.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import chaos, weights
from experiments.execute import execute
from experiments.runs import Run
from experiments.training import checkpoints
from experiments.training.throughput import MACHINE

DEATHS = int(os.environ.get("CHAOS", "3"))
FORCED = (
    "written:2:0", "validation:3:1", "evaluation:2", "renamed:1:0", "written:1:0", "validation:6:0", "weights:3:0",
)  # fmt: skip
WALL_CLOCK = {f"train/{name}" for name in MACHINE}
COMMAND = """
import sys
from experiments.execute import execute
from experiments.runs import Run
sys.exit(execute(Run.open(sys.argv[1]), progress="lines"))
"""
SETTINGS: dict[str, Any] = {
    "objective": "shortcut",
    "trainer__devices": 2,
    "trainer__max_steps": 24,
    "trainer__log_every": 5,
    "trainer__checkpoint_every": 4,
    "trainer__validate_every": 8,
    "trainer__accumulate": 2,
    "ema__profiles": [0.05],
    "ema__snapshot_every": 5,
    "evaluation__steps": [1, 4],
    "evaluation__num": 64,
    "evaluation__batch_size": 32,
    "evaluation__metrics": ["frechet_distance"],
}


def start(run: Run, death: str | None = None) -> subprocess.Popen[bytes]:
    """``fewstep resume RUN``, told to die at a point."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | ({chaos.VARIABLE: death} if death else {})
    return subprocess.Popen([sys.executable, "-P", "-c", COMMAND, str(run.path)], env=environment)


def ranks_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The processes that it started."""
    file = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        return [int(word) for word in file.read_text().split()]
    except OSError:
        return []


def kill_at_random(process: subprocess.Popen[bytes], run: Run, luck: random.Random, longest: float) -> None:
    """Kill one rank, or both, or the process that watches them, a while after the training has begun.

    Most of a short run's time goes by before that, and a death then would prove little.
    """
    started = time.time()
    while process.poll() is None and (run.status.get("heartbeat", 0) < started or run.status["state"] != "running"):
        time.sleep(0.01)
    time.sleep(luck.uniform(0, longest))
    children = ranks_of(process)
    choices = [children[:1], children[1:], children, [process.pid], [process.pid, *children]]
    victims = luck.choice([some for some in choices if some])
    print(f"killing {len(victims)} of {1 + len(children)} processes at step {run.status['step']}")
    for victim in victims:
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            continue


def outcome(run: Run) -> dict[str, Any]:
    """Everything that must not depend on what happened on the way."""
    found = checkpoints.newest(run.checkpoints)
    assert found.path is not None
    evaluations = [
        {"rows": [{k: v for k, v in row.items() if k != "seconds_per_image"} for row in each["rows"]]}
        | {"validation": each["validation"]}
        for each in run.evaluations()
    ]
    return {
        "state": flat(found.state),
        "metrics": [row for row in run.metrics() if row[1] not in WALL_CLOCK],
        "evaluations": evaluations,
        "scalars": scalars(run),
        "checkpoints": checkpoints.steps(run.checkpoints),
        "files": {
            f"{file.parent.name}/{file.name}": (flat(weights.read(file)), weights.facts(file))
            for folder in ("ema", "export")
            for file in sorted((run.path / folder).iterdir())
        },
    }


def flat(state: Any, path: str = "") -> dict[str, Any]:
    if isinstance(state, dict | list):
        items = state.items() if isinstance(state, dict) else enumerate(state)
        return {name: leaf for key, value in items for name, leaf in flat(value, f"{path}/{key}").items()}
    return {path: (str(state.dtype), state.tolist()) if isinstance(state, torch.Tensor) else state}


def scalars(run: Run) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    names = set(events.Tags()["scalars"]) - WALL_CLOCK
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in names}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, small_run: Callable[..., Run]) -> tuple[dict[str, Any], float]:
    """What an undisturbed run comes to, and the seconds that its steps take."""
    run = small_run(tmp_path_factory.mktemp("reference"), trainer__trackers=["csv", "tensorboard"], **SETTINGS)
    assert execute(run) == 0
    return outcome(run), run.status["training_seconds"]


@pytest.mark.parametrize("number", range(DEATHS))
def test_a_run_that_was_killed_ends_as_one_that_was_not(
    number: int, tmp_path: Path, small_run: Callable[..., Run], reference: tuple[dict[str, Any], float]
) -> None:
    expected, seconds = reference
    run = small_run(tmp_path, trainer__trackers=["csv", "tensorboard"], **SETTINGS)
    forced = number < len(FORCED)
    luck = random.Random(number)
    for _ in range(1 if forced else luck.choice((1, 2))):
        process = start(run, FORCED[number] if forced else None)
        if not forced:
            kill_at_random(process, run, luck, 1.2 * seconds)
        assert process.wait(timeout=300) in ((3, -9) if forced else (0, 3, -9))
    assert execute(run) == 0
    found = outcome(run)
    for part, value in expected.items():
        assert found[part] == value, part

"""Signals wherever they come: 75, and the same command ends as if nothing had been."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import chaos, weights
from experiments.execute import execute
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training import checkpoints
from experiments.training.throughput import MACHINE

SmallRun = Callable[..., Run]
OPTIONS: dict[str, Any] = {
    "ema__profiles": [0.05], "ema__snapshot_every": 5, "evaluation__steps": [1], "evaluation__num": 32,
    "evaluation__batch_size": 16, "evaluation__metrics": ["frechet_distance"],
}  # fmt: skip


def tensors(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {name: leaf for key, item in items for name, leaf in tensors(item, f"{path}/{key}").items()}
    return {path: value.tolist() if isinstance(value, torch.Tensor) else value}


def outcome(run: Run) -> dict[str, Any]:
    files = [*(run.path / "ema").iterdir(), *(run.path / "export").iterdir()]
    return {
        "state": tensors(checkpoints.newest(run.checkpoints).state),
        "metrics": [row for row in run.metrics() if row[1].removeprefix("train/") not in MACHINE],
        "rows": [row["frechet_distance"] for each in run.evaluations() for row in each["rows"]],
        "files": {file.name: tensors(weights.read(file)) for file in files},
    }


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, small_run: SmallRun) -> dict[str, Any]:
    """What a run that nobody disturbs comes to."""
    run = small_run(tmp_path_factory.mktemp("undisturbed"), **OPTIONS)
    assert execute(run) == 0
    return outcome(run)


def at(point: str, action: Callable[[], None], monkeypatch: pytest.MonkeyPatch, *, count: int = 1) -> list[str]:
    """Do something once, where the run comes by a point for the ``count``-th time; the points that it came by."""
    passed: list[str] = []

    def reach(name: str) -> None:
        passed.append(name)
        if name == point and passed.count(point) == count:
            action()

    monkeypatch.setattr(chaos, "reach", reach)
    return passed


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("point", ["written", "weights", "validation", "evaluation"])
def test_a_signal_ends_with_75_and_the_same_command_goes_on(
    number: signal.Signals, point: str, tmp_path: Path, small_run: SmallRun, expected: Any, monkeypatch: Any
) -> None:
    run = small_run(tmp_path, **OPTIONS)
    passed = at(point, lambda: os.kill(os.getpid(), number), monkeypatch)
    assert execute(run) == 75
    assert passed.count(point) >= 1
    assert run.status["state"] == "interrupted"
    assert execute(run) == 0
    assert outcome(run) == expected


@pytest.mark.parametrize(("point", "count"), [("written", 2), ("validation", 1)])
def test_a_second_ctrl_c_stops_at_once_and_harms_no_checkpoint(
    point: str, count: int, tmp_path: Path, small_run: SmallRun, expected: Any, monkeypatch: Any
) -> None:
    """A write that is going on then is never finished, as its process is gone: its thread stands still here."""
    run, stop = small_run(tmp_path, **OPTIONS), Stop()

    def twice() -> None:
        deadline = time.monotonic() + 60
        while not checkpoints.steps(run.checkpoints) and time.monotonic() < deadline:
            time.sleep(0.01)  # the first one is written beside the training
        os.kill(os.getpid(), signal.SIGINT)
        while not stop.requested:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        if threading.current_thread() is not threading.main_thread():
            threading.Event().wait()

    at(point, twice, monkeypatch, count=count)
    assert execute(run, stop=stop) == 75
    assert "at once" in run.status["message"]
    assert checkpoints.newest(run.checkpoints).notices == []
    assert checkpoints.steps(run.checkpoints) == [4]
    assert execute(run) == 0
    assert outcome(run) == expected

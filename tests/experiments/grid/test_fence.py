"""Nothing is written but under the highest claim: real runs that lose it."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from experiments.claims import ClaimLost, history
from experiments.execute import execute
from experiments.grid.language import read_grid
from experiments.grid.planning import prepare
from experiments.grid.study import Study
from experiments.runs import Run

GRID = """
name: small
base:
  data: points
  objective: shortcut
  backbone: {name: mlp, width: 16}
  trainer: {max_steps: 400, batch_size: 16, checkpoint_every: 20, log_every: 5, validate_every: 200, threads: 1}
  evaluation: {steps: [1], weights: [ema], num: 32, metrics: [frechet_distance]}
"""


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file's bytes and time, but for what is still being gathered and has no name of its own."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    named = [file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts)]
    return {str(file.relative_to(folder)): (file.read_bytes(), file.stat().st_mtime_ns) for file in named}


def worker(study: Study) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "experiments.grid.worker", str(study.path)]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1", "FEWSTEP_STALE_AFTER": "2"})


def test_a_worker_that_was_stopped_and_taken_over_ends_with_75_and_has_written_nothing(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(GRID)
    study = Study(tmp_path / "study")
    prepare(read_grid(tmp_path / "small.yaml"), study)
    (cell,) = study.cells
    run, started = study.run(cell), [worker(study)]
    first = started[0]
    try:
        limit = time.monotonic() + 300
        while run.status["step"] < 50:
            assert first.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)
        while study.state(cell).state != "stalled":
            assert time.monotonic() < limit
            time.sleep(0.1)
        assert run.status["step"] < 400
        started.append(worker(study))
        assert started[1].wait(timeout=300) == 0
        assert study.state(cell).state == "done"
        before = content(run.path)
        first.send_signal(signal.SIGCONT)
        assert first.wait(timeout=300) == 75
        assert content(run.path) == before
        assert [one.outcome for one in history(study.claims(cell))] == [None, "done"]
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.mark.parametrize("place", [0, 1, 3, 6, 10, 15, 21, 28, 36, 45])
def test_wherever_a_run_loses_the_right_to_write_it_writes_no_more(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    run = make_run(
        trainer__trackers=["csv", "tensorboard"], trainer__sample_every=6, ema__profiles=[0.1],
        evaluation__steps=[1], evaluation__num=16, evaluation__metrics=["frechet_distance"],
    )  # fmt: skip
    questions, found = itertools.count(), dict[str, tuple[bytes, int]]()

    def fence() -> None:
        nonlocal found
        number = next(questions)  # threads that write ask too
        if number >= place:
            if number == place:
                settle()
                found = content(run.path)
            raise ClaimLost("another has it")

    with pytest.raises(ClaimLost):
        execute(run, fence=fence)
    settle()
    assert content(run.path) == found


def settle() -> None:
    """Let writes that were allowed come to their end: those of the threads, and in a thread the main one's."""
    if threading.current_thread() is not threading.main_thread():
        time.sleep(0.5)
        return
    for thread in threading.enumerate():
        if thread.name in ("files", "checkpoint"):
            thread.join(10)


def test_a_checkpoint_that_may_not_be_written_leaves_what_another_gathers_alone(tmp_path: Path) -> None:
    from experiments.training.background import Writer
    from experiments.training.checkpoints import aside

    def fence() -> None:
        raise ClaimLost("another has it")

    theirs = aside(tmp_path, 3, "theirs")
    theirs.mkdir()
    writer = Writer(tmp_path, rank=0, ranks=1, token="ours", fence=fence)
    writer.submit(3, {"x": torch.zeros(2)}, {})
    with pytest.raises(ClaimLost):
        writer.wait()
    assert [entry.name for entry in tmp_path.iterdir()] == [theirs.name]

"""Ranks are watched: a death, a hang, a stop and the loss of the watcher end all of them. Stubs stand for training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.errors import Interrupted, RunFailed
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training import rank

MakeRun = Callable[..., Run]
START = """
import os, signal, sys, time
from pathlib import Path
number = os.environ["LOCAL_RANK"]
Path(sys.argv[1], "pid-" + number).write_text(str(os.getpid()))
from experiments.training.heartbeat import beat, last_words
def work(seconds):
    for _ in range(int(seconds * 20)):
        beat()
        time.sleep(0.05)
"""


@pytest.fixture
def ranks(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Watches two stubs that run a script; they must be gone afterwards."""

    def start(script: str, *, timeout: float = 30.0, stop: Stop | None = None) -> None:
        run = make_run(trainer__devices=2, trainer__rank_timeout=timeout)
        code = START + textwrap.dedent(script)
        monkeypatch.setattr(rank, "command", lambda run, style: [sys.executable, "-P", "-c", code, str(run.path)])
        try:
            rank.fit_on_processes(run, 2, stop=stop or Stop(), style="none")
        finally:
            for number in "01":
                with pytest.raises(ProcessLookupError):
                    os.kill(int((run.path / f"pid-{number}").read_text()), 0)

    return start


def test_a_rank_that_hangs_ends_all(ranks: Callable[..., None]) -> None:
    with pytest.raises(RunFailed, match=r"Rank 1 of 2 has shown no sign of life for \d s; .*goes on"):
        ranks("beat(); time.sleep(600) if number == '1' else work(600)", timeout=4.0)


def test_before_the_first_step_more_patience_is_had(ranks: Callable[..., None]) -> None:
    ranks("time.sleep(3); beat()", timeout=2.0)


def test_a_rank_that_is_killed_ends_all(ranks: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank, "GRACE", 0.5)
    with pytest.raises(RunFailed, match="Rank 1 of 2 was killed by SIGKILL; the others were ended"):
        ranks("os.kill(os.getpid(), signal.SIGKILL) if number == '1' else work(60)")


def test_why_a_rank_failed_is_told_in_its_own_words(ranks: Callable[..., None]) -> None:
    with pytest.raises(RunFailed, match=r"^The disk is full, it says$"):
        ranks("last_words('The disk is full, it says') if number == '1' else None; sys.exit(3 if number == '1' else 1)")


class StopOnce(Stop):
    """Asks for a stop as soon as both ranks have left a file of this name."""

    def __init__(self, root: Path, name: str):
        super().__init__()
        threading.Thread(target=self._wait, args=(root, name), daemon=True).start()

    def _wait(self, root: Path, name: str) -> None:
        while len(list(root.rglob(f"{name}-[01]"))) < 2:
            time.sleep(0.05)
        self.requested = True


def test_a_stop_reaches_every_rank(ranks: Callable[..., None], tmp_path: Path) -> None:
    stop = StopOnce(tmp_path, "ready")
    with pytest.raises(Interrupted, match="at step 7"):
        ranks(
            """
            signal.signal(signal.SIGTERM, lambda *_: (last_words("Stopped at step 7"), sys.exit(75)))
            Path(sys.argv[1], "ready-" + number).touch()
            work(60)
            """,
            stop=stop,
        )


def test_a_stop_that_finds_ranks_still_starting_is_a_stop(ranks: Callable[..., None], tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        ranks("work(60)", stop=StopOnce(tmp_path, "pid"))


def test_ranks_do_not_outlive_the_process_that_watches_them(tmp_path: Path) -> None:
    child = "from experiments.training.rank import _end_with_parent; import time; _end_with_parent(); time.sleep(60)"
    parent = (
        "import subprocess, sys, time;"
        f"child = subprocess.Popen([sys.executable, '-P', '-c', {child!r}], stdin=subprocess.PIPE);"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    watcher = subprocess.Popen([sys.executable, "-P", "-c", parent], stdout=subprocess.PIPE, text=True)
    assert watcher.stdout is not None
    pid = int(watcher.stdout.readline())
    os.kill(pid, 0)
    watcher.kill()
    watcher.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and Path(f"/proc/{pid}").exists():
        time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)

"""Ranks that srun started: who speaks, who follows, and how all of them end. The training itself is a stub here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.claims import INHERITED, ClaimLost, claim
from experiments.console import Reporter
from experiments.errors import Interrupted, RunFailed, UserError
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training import fit, heartbeat, step
from experiments.training.step import Step, fit_with_followers, follow, leading, open_run, step_for

MakeRun = Callable[..., Run]
SLURM = {
    "SLURM_JOB_ID": "12", "SLURM_STEP_ID": "3", "SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}  # fmt: skip
RANKS = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Step]:
    """Makes this process a task of a step; what it leaves in the environment is taken away again."""

    def make(rank: int = 3, **changed: str) -> Step:
        for name, value in (SLURM | {"SLURM_PROCID": str(rank)} | changed).items():
            monkeypatch.setenv(name, value)
        found = Step.current()
        assert found is not None
        return found

    for name in (*RANKS, INHERITED, *SLURM):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    monkeypatch.setattr(step, "GRACE", 1.0)
    monkeypatch.setattr(step, "LOOK_EVERY", 0.02)
    return make


def train(monkeypatch: pytest.MonkeyPatch, what: Callable[[Run], None]) -> None:
    """Stands for the training."""
    monkeypatch.setattr(fit, "fit", lambda run, **_: what(run))


def say(run: Run, own: Step, words: dict[str, Any]) -> None:
    own.word(run.path).parent.mkdir(exist_ok=True)
    own.word(run.path).write_text(json.dumps(words))


def raising(error: Exception) -> Callable[[Run], None]:
    def what(run: Run) -> None:
        raise error

    return what


def test_a_task_knows_its_place(task: Callable[..., Step]) -> None:
    assert task() == Step(3, 4, 1, 1, "12.3.0")
    assert task(SLURM_RESTART_COUNT="2").name == "12.3.2"


@pytest.mark.parametrize("lacking", ["SLURM_STEP_ID", "SLURM_NTASKS"])
def test_elsewhere_there_is_no_step(task: Callable[..., Step], lacking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task()
    monkeypatch.delenv(lacking)  # a batch script has no step, a single task no other
    assert Step.current() is None
    assert step_for(2, nodes=1) is None
    with pytest.raises(UserError, match=r"srun --nodes=2 --ntasks=8"):
        step_for(8, nodes=2)


def test_tasks_and_processes_must_agree(task: Callable[..., Step]) -> None:
    own = task()
    assert step_for(4, nodes=2) == own
    with pytest.raises(UserError, match=r"srun started 4 tasks, but .* is 1"):
        step_for(1, nodes=1)


def test_rank_0_lets_the_others_train_and_leave(
    task: Callable[..., Step], make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, seen = make_run(), []
    lead, other = task(0), task(3)
    train(monkeypatch, lambda run: seen.append({name: os.environ[name] for name in RANKS}))
    task(0, MASTER_ADDR="node1")
    with leading(run.path):
        fit_with_followers(run, lead, stop=Stop(), reporter=Reporter("none"))
        words = json.loads(lead.word(run.path).read_text())
        assert follow(run.path, other, Stop()) == 0
    assert [one["NODE_RANK"] + one["LOCAL_RANK"] for one in seen] == ["11", "11"]  # the stub's one place for both
    assert {one["MASTER_PORT"] for one in seen} == {str(words["port"])}
    assert {one["MASTER_ADDR"] for one in seen} == {"node1"}
    assert json.loads(lead.word(run.path).read_text()) == {"over": True}


def test_where_nothing_is_left_to_train_the_others_leave_at_once(
    task: Callable[..., Step], make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, other = make_run(), task()
    train(monkeypatch, raising(AssertionError()))
    with leading(run.path):
        pass
    assert follow(run.path, other, Stop()) == 0


def test_a_stop_is_no_reason_to_leave_before_rank_0_has_spoken(
    task: Callable[..., Step], make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, own, stop, trained = make_run(), task(), Stop(), []
    stop.requested = True
    train(monkeypatch, lambda run: trained.append(run))
    threading.Timer(0.3, say, (run, own, {"port": 1, "claim": None})).start()
    assert follow(run.path, own, stop) == 0
    assert len(trained) == 1


def test_words_of_another_step_or_start_are_not_heard(
    task: Callable[..., Step], make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    before, now = task(SLURM_RESTART_COUNT="0"), task(SLURM_RESTART_COUNT="1")
    say(run, before, {"port": 1, "claim": None})
    train(monkeypatch, lambda run: None)
    fit_with_followers(run, now, stop=Stop(), reporter=Reporter("none"))
    assert not before.word(run.path).exists()


@pytest.mark.parametrize("error", [Interrupted("Stopped after step 7."), RunFailed("not finite", "not finite")])
def test_what_all_agree_on_rank_0_alone_tells_by_its_exit_code(
    task: Callable[..., Step], make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    run = make_run()
    train(monkeypatch, raising(error))
    with pytest.raises(type(error), match=str(error)), leading(run.path):
        fit_with_followers(run, task(0), stop=Stop(), reporter=Reporter("none"))
    own = task()
    say(run, own, {"port": 1, "claim": None})
    threading.Timer(0.3, say, (run, own, {"over": True})).start()
    assert follow(run.path, own, Stop()) == 0


def test_a_rank_that_fails_alone_ends_the_step_and_is_heard(
    task: Callable[..., Step], make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, own = make_run(), task()
    say(run, own, {"port": 1, "claim": None})
    train(monkeypatch, raising(OSError(28, "No space left on device")))
    assert follow(run.path, own, Stop()) == 1
    train(monkeypatch, raising(RuntimeError("connection closed by peer")))
    with pytest.raises(RunFailed, match="No space left on device") as told:
        fit_with_followers(run, task(0), stop=Stop(), reporter=Reporter("none"))
    assert told.value.reason == "disk"


def test_where_nobody_says_why_the_error_is_our_own(
    task: Callable[..., Step], make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(monkeypatch, raising(RuntimeError("connection closed by peer")))
    with pytest.raises(RuntimeError, match="closed by peer"):
        fit_with_followers(make_run(), task(0), stop=Stop(), reporter=Reporter("none"))


def test_the_others_write_under_rank_0s_claim(
    task: Callable[..., Step], make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run, own = make_run(), task()
    held = claim(tmp_path / "claims" / "cell")
    assert held is not None
    say(run, own, {"port": 1, "claim": f"{held.folder}:{held.number}"})
    train(monkeypatch, lambda run: run.fence())
    assert follow(run.path, own, Stop()) == 0
    (held.folder / "000002.json").write_text("{}")
    with pytest.raises(ClaimLost):
        open_run(run.path).fence()


def test_a_rank_that_hangs_ends_itself(make_run: MakeRun) -> None:
    run = make_run(trainer__rank_timeout=0.5)
    code = """
        import sys, time
        from pathlib import Path
        from experiments.runs import Run
        from experiments.training import heartbeat
        from experiments.training.step import Step, _watched
        run = Run.open(sys.argv[1])
        (run.path / "ranks").mkdir()
        with _watched(run, Step(1, 2, 0, 1, "hung")):
            for _ in range(12):
                time.sleep(0.1)
                heartbeat.beat()
            print("well so far", flush=True)
            time.sleep(60)
    """
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(code), run.path], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "well so far\n"), done.stderr
    assert "Rank 1 of 2 has shown no sign of life for" in (run.path / "ranks" / "hung.1.json").read_text()
    assert time.monotonic() - began < 50


def test_before_the_first_beat_more_patience_is_had(
    task: Callable[..., Step], make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, own = make_run(trainer__rank_timeout=0.2), task()
    monkeypatch.setattr(heartbeat, "_last", 0.0)
    with step._watched(run, own):  # this process would end
        time.sleep(0.8)

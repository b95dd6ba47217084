"""Training: resumed, divided and accumulated runs are one run; a bad end keeps the last good checkpoint."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from experiments import runs
from experiments.console import Reporter
from experiments.errors import Interrupted, RunFailed, UserError
from experiments.evaluation.sampling import draw_samples
from experiments.execute import execute
from experiments.runs import Run, child
from experiments.stopping import Stop
from experiments.training import checkpoints
from experiments.training.fit import fit
from experiments.training.module import TrainingModule
from experiments.training.throughput import MACHINE

MakeRun = Callable[..., Run]
QUIET = Reporter("none")


def final_state(run: Run) -> dict[str, Any]:
    found = checkpoints.newest(run.checkpoints)
    assert found.path is not None
    return found.state


def flat(state: Any, path: str = "") -> dict[str, Any]:
    if isinstance(state, dict | list):
        items = state.items() if isinstance(state, dict) else enumerate(state)
        return {name: leaf for key, value in items for name, leaf in flat(value, f"{path}/{key}").items()}
    return {path: state}


def assert_same_state(a: Run, b: Run) -> None:
    one, other = flat(final_state(a)), flat(final_state(b))
    assert one.keys() == other.keys()
    for name, value in one.items():
        same = torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]
        assert same, name


def logged(run: Run, name: str) -> list[tuple[int, float]]:
    return [(step, value) for step, key, value in run.metrics() if key == name]


class StopIn(Callback):
    """Asks for a stop in the course of a step (counted from 1), as a signal would."""

    def __init__(self, step: int, stop: Stop):
        self.step, self.stop = step, stop

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, TrainingModule)
        self.stop.requested = self.stop.requested or pl_module.step + 1 >= self.step


def interrupted(run: Run, step: int) -> None:
    """Train until a stop in ``step`` ends it."""
    stop = Stop()
    with pytest.raises(Interrupted, match=f"step {step} of"):
        fit(run, stop=stop, reporter=QUIET, extra=[StopIn(step, stop)])


@pytest.mark.parametrize("objective", ["rf", "edm(-1.20,1.20)", "shortcut"])
def test_an_interrupted_run_ends_as_one_never_interrupted(make_run: MakeRun, objective: str) -> None:
    whole, pieces = make_run(objective=objective), make_run("again", objective=objective)
    fit(whole, stop=Stop(), reporter=QUIET)
    for step in (3, 6, 8):  # 6 is a step after which the loss is validated
        interrupted(pieces, step)
    fit(pieces, stop=Stop(), reporter=QUIET)
    assert final_state(whole)["step"] == 12
    assert_same_state(whole, pieces)
    names = {name for _, name, _ in whole.metrics()} - {f"train/{name}" for name in MACHINE}
    assert len(names) > 10
    for name in names:
        assert logged(whole, name) == logged(pieces, name), name


@pytest.mark.parametrize(("M", "steps"), [(8, 8), (128, 16)])
def test_the_picture_of_a_run_without_evaluation_takes_steps_that_the_objective_takes(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, M: int, steps: int
) -> None:
    drawn: list[int] = []

    def noted(*args: Any, steps: int, **options: Any) -> Any:
        drawn.append(steps)
        return draw_samples(*args, steps=steps, **options)

    monkeypatch.setattr("experiments.training.fit.draw_samples", noted)
    run = make_run(objective={"name": "shortcut", "M": M}, trainer__sample_every=12, trainer__trackers=["tensorboard"])
    fit(run, stop=Stop(), reporter=QUIET)
    assert drawn == [steps]


def test_a_stop_leaves_a_checkpoint_of_that_very_step(make_run: MakeRun) -> None:
    run = make_run()
    interrupted(run, 3)
    assert final_state(run)["step"] == 3


def test_another_seed_gives_another_run(make_run: MakeRun) -> None:
    runs = [make_run(seed=seed) for seed in (0, 1)]
    for run in runs:
        fit(run, stop=Stop(), reporter=QUIET)
    weights = [torch.cat([tensor.flatten() for tensor in final_state(run)["backbone"].values()]) for run in runs]
    assert not torch.equal(*weights)


def test_accumulated_micro_batches_are_one_batch(make_run: MakeRun) -> None:
    whole, parts = make_run(), make_run("parts", trainer__accumulate=4)
    assert whole.path.name == parts.path.name
    for run in (whole, parts):
        fit(run, stop=Stop(), reporter=QUIET)
    torch.testing.assert_close(final_state(whole)["backbone"], final_state(parts)["backbone"], rtol=1e-4, atol=1e-6)
    losses = [[value for _, value in logged(run, "train/loss")] for run in (whole, parts)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_two_processes_train_as_one_does(make_run: MakeRun) -> None:
    one, two = make_run(objective="shortcut"), make_run("two", objective="shortcut", trainer__devices=2)
    assert execute(one) == execute(two) == 0
    torch.testing.assert_close(final_state(one)["backbone"], final_state(two)["backbone"], rtol=1e-4, atol=1e-6)
    for name in ("train/loss", "validation/loss_ema", "validation/loss_raw"):
        values = [[value for _, value in logged(run, name)] for run in (one, two)]
        assert values[0] == pytest.approx(values[1], rel=1e-5), name


def test_bf16_mixed_with_clipping_and_a_fused_optimiser_trains(make_run: MakeRun) -> None:
    run, full = make_run(trainer__precision="bf16-mixed"), make_run()
    for each in (run, full):
        fit(each, stop=Stop(), reporter=QUIET)
    loss, reference = (logged(each, "train/loss")[-1][1] for each in (run, full))
    assert loss == pytest.approx(reference, rel=2e-2)
    assert loss != reference


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_checkpoint(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from objectives import FlowMatching

    loss = FlowMatching.loss

    def spoilt(self: Any, network: Any, x: Any, condition: Any, draws: Any, **keywords: Any) -> Any:
        return loss(self, network, x * float("nan") if draws.step == 6 else x, condition, draws, **keywords)

    monkeypatch.setattr(FlowMatching, "loss", spoilt)
    run = make_run()
    assert execute(run) == 3
    assert run.status["state"] == "failed"
    assert "not finite" in run.status["message"]
    assert final_state(run)["step"] == 4
    assert run.done is None


def test_the_step_that_was_not_finite_is_named(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    from objectives import FlowMatching

    loss = FlowMatching.loss
    monkeypatch.setattr(
        FlowMatching, "loss", lambda self, n, x, c, d, **k: loss(self, n, x / (0 if d.step == 6 else 1), c, d, **k)
    )
    with pytest.raises(RunFailed, match="at step 7"):
        fit(make_run(trainer__checkpoint_every=100), stop=Stop(), reporter=QUIET)


def test_a_damaged_checkpoint_is_passed_over_and_said(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run()
    interrupted(run, 9)
    newest = checkpoints.folder(run.checkpoints, 9)
    (newest / "tensors-0.safetensors").write_bytes(b"")
    fit(run, stop=Stop(), reporter=Reporter("lines"))
    said = " ".join(capsys.readouterr().err.split())
    assert "damaged" in said
    assert "step-000000008" in said.replace(" ", "")
    assert final_state(run)["step"] == 12


def test_a_checkpoint_of_another_architecture_is_refused_with_its_differences(make_run: MakeRun) -> None:
    small, large = make_run(), make_run("large", backbone__width=24)
    fit(small, stop=Stop(), reporter=QUIET)
    small.checkpoints.rename(large.checkpoints)
    with pytest.raises(UserError, match=r"another architecture.*\n.*is \(.*the network's is \("):
        fit(large, stop=Stop(), reporter=QUIET)
    assert execute(large) == 2


def test_a_full_disk_is_reported_the_last_checkpoint_stays_and_the_run_goes_on_once_there_is_room(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = checkpoints.write_tensors
    undisturbed = make_run("undisturbed")
    fit(undisturbed, stop=Stop(), reporter=QUIET)

    def full(file: Path, tensors: Any) -> str:
        if "000000008" in str(file):
            raise OSError(28, "No space left on device")
        return write(file, tensors)

    run = make_run()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_tensors", full)
        assert execute(run) == 3
    assert "disk" in run.status["message"]
    assert final_state(run)["step"] == 4
    assert execute(run) == 0
    assert_same_state(run, undisturbed)
    assert logged(run, "train/loss") == logged(undisturbed, "train/loss")


def test_a_run_that_died_after_its_last_checkpoint_leaves_no_more_than_any_other(make_run: MakeRun) -> None:
    run = make_run(trainer__keep_checkpoints=2)
    fit(run, stop=Stop(), reporter=QUIET)
    kept = checkpoints.steps(run.checkpoints)
    assert kept == [12, 8]
    shutil.copytree(checkpoints.folder(run.checkpoints, 8), checkpoints.folder(run.checkpoints, 4))
    (run.checkpoints / ".step-000000012.left").mkdir()
    assert execute(run) == 0
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["step-000000008", "step-000000012"]


def test_a_disk_that_takes_no_status_either_is_reported(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, full = make_run(), OSError(28, "No space left on device")
    interrupted(run, 5)
    with monkeypatch.context() as patch:
        for place, name in ((checkpoints, "write_tensors"), (runs, "write_json")):
            patch.setattr(place, name, Mock(side_effect=full))
        assert execute(run, progress="lines") == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "No space left on device" in said
    assert "The last checkpoint is intact" in said
    assert final_state(run)["step"] == 5
    assert execute(run) == 0


def test_a_child_goes_on_from_its_parent_under_its_own_identity(make_run: MakeRun) -> None:
    parent = make_run()
    fit(parent, stop=Stop(), reporter=QUIET)
    longer = make_run("elsewhere", trainer__max_steps=20).config
    run = child(parent, longer)
    assert run.path.parent == parent.path.parent
    assert run.path.name != longer.run_name
    assert child(parent, longer).path == run.path
    fit(run, stop=Stop(), reporter=QUIET)
    assert final_state(run)["step"] == 20
    with pytest.raises(UserError, match="at step 12 already"):
        child(parent, make_run("elsewhere", trainer__max_steps=8).config)


def test_tensorboard_gets_scalars_and_a_sheet(make_run: MakeRun) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = make_run(trainer__trackers=["csv", "tensorboard"], evaluation__steps=[1])
    fit(run, stop=Stop(), reporter=QUIET)
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [step for step, _ in logged(run, "train/loss")]
    assert [image.step for image in events.Images("samples")] == [12]


def test_a_signal_ends_a_process_with_75_and_the_same_command_goes_on(make_run: MakeRun) -> None:
    run = make_run(trainer__max_steps=100_000)
    code = (
        "import sys; from experiments.runs import Run; from experiments.execute import execute;"
        f"sys.exit(execute(Run.open({str(run.path)!r})))"
    )
    process = subprocess.Popen([sys.executable, "-P", "-c", code], env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        deadline = time.monotonic() + 90
        while run.status["step"] < 4 and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 75
    finally:
        process.kill()
    assert run.status["state"] == "interrupted"
    assert final_state(run)["step"] == run.status["step"] > 0

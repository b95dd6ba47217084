"""What happens around the steps: numbers, validation, checkpoints, pictures, and stopping in good order."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from lightning import Callback, LightningModule, Trainer

from experiments.errors import RunFailed
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.trackers.base import Tracker
from experiments.training import checkpoints
from experiments.training.module import TrainingModule

Report = Callable[[int, dict[str, float]], None]


class AfterStep(Callback):
    """Calls :meth:`after_step` once for each optimiser step, whatever the accumulation."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ):
        assert isinstance(pl_module, TrainingModule)
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self.after_step(trainer, pl_module, pl_module.step)

    def after_step(self, trainer: Trainer, module: TrainingModule, step: int) -> None:
        raise NotImplementedError


def due(step: int, every: int | None, module: TrainingModule) -> bool:
    """Whether something done every ``every`` steps (None: only at the end) is due after ``step``."""
    return step == module.config.trainer.max_steps or (every is not None and step % every == 0)


class Record(AfterStep):
    """Logged numbers, status.json's heartbeat, and the end of a run whose loss is not finite.

    The device is asked for numbers once per ``log_every`` steps, all of them at once.
    """

    def __init__(self, run: Run, trackers: list[Tracker], report: Report):
        self.run, self.trackers, self.report = run, trackers, report

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        self._since, self._from = time.monotonic(), pl_module.step
        self._beat = 0.0

    def after_step(self, trainer: Trainer, module: TrainingModule, step: int) -> None:
        if due(step, module.config.trainer.log_every, module):
            self._log(trainer, module, step)
        elif trainer.is_global_zero and time.monotonic() - self._beat > 5:
            self._heartbeat(module, step)

    def _log(self, trainer: Trainer, module: TrainingModule, step: int) -> None:
        values = window_means(module, step)
        now = time.monotonic()
        values["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        values["steps_per_second"] = (step - self._from) / max(now - self._since, 1e-9)
        self._since, self._from = now, step
        if trainer.is_global_zero:
            for tracker in self.trackers:
                tracker.log(step, {f"train/{name}": value for name, value in values.items()})
            self._heartbeat(module, step, loss=values["loss"], steps_per_second=values["steps_per_second"])
            self.report(step, values)

    def _heartbeat(self, module: TrainingModule, step: int, **fields: float) -> None:
        self._beat = time.monotonic()
        self.run.write_status("running", step=step, max_steps=module.config.trainer.max_steps, **fields)


def window_means(module: TrainingModule, step: int) -> dict[str, float]:
    """Means over the steps since the last call and over the ranks; :class:`RunFailed` where a loss is not finite."""
    window, module.window = module.window, []
    names = sorted({name for entry in window for name in entry})
    columns = [torch.stack([entry[name].float() for entry in window if name in entry]) for name in names]
    means = torch.stack([column.mean() for column in columns])
    finite = torch.isfinite(columns[names.index("loss")]).float()
    if dist.is_initialized():
        dist.all_reduce(means)
        means /= dist.get_world_size()
        dist.all_reduce(finite, op=dist.ReduceOp.MIN)
    bad = (finite == 0).nonzero().flatten().tolist()
    if bad:
        micro = module.config.trainer.accumulate
        first = step - (len(window) - 1 - bad[0]) // micro
        raise RunFailed(
            f"The loss is not finite at step {first}. The last checkpoint before it is kept. "
            "Lower optimizer.lr, set trainer.clip, or train with trainer.precision=32-true."
        )
    return dict(zip(names, means.tolist(), strict=True))


class Validate(AfterStep):
    """The validation loss at 8 times, by the first EMA and by the raw weights."""

    def __init__(self, losses: Callable[[TrainingModule], dict[str, float]], trackers: list[Tracker], report: Report):
        self.losses, self.trackers, self.report = losses, trackers, report

    def after_step(self, trainer: Trainer, module: TrainingModule, step: int) -> None:
        if due(step, module.config.trainer.validate_every, module):
            values = self.losses(module)
            if trainer.is_global_zero:
                for tracker in self.trackers:
                    tracker.log(step, values)
                self.report(step, values)


class Picture(AfterStep):
    """A sheet of samples for the trackers."""

    def __init__(self, sheet: Callable[[TrainingModule], Any], trackers: list[Tracker]):
        self.sheet, self.trackers = sheet, trackers

    def after_step(self, trainer: Trainer, module: TrainingModule, step: int) -> None:
        if trainer.is_global_zero and due(step, module.config.trainer.sample_every, module):
            pixels = self.sheet(module)
            for tracker in self.trackers:
                tracker.image(step, "samples", pixels)


class Save(AfterStep):
    """Checkpoints every ``checkpoint_every`` steps, at the end, and where a stop was asked for. Comes last.

    All ranks agree on the stop after a step, so that none waits for another that has left.
    """

    def __init__(self, run: Run, stop: Stop):
        self.run, self.stop = run, stop

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.stop.install()  # Lightning has just put its own SIGTERM handler in front
        self._group = dist.new_group(backend="gloo") if dist.is_initialized() else None

    def after_step(self, trainer: Trainer, module: TrainingModule, step: int) -> None:
        stopping = self._agreed()
        if stopping or due(step, module.config.trainer.checkpoint_every, module):
            if not checkpoints.all_finite(list(module.backbone.parameters())):
                raise RunFailed(f"Weights are not finite after step {step}. The last checkpoint before it is kept.")
            if trainer.is_global_zero:
                self.run.fence()
                checkpoints.save(self.run.checkpoints, step, module.checkpoint())
                checkpoints.prune(self.run.checkpoints, module.config.trainer.keep_checkpoints)
        if stopping:
            trainer.should_stop = True

    def _agreed(self) -> bool:
        if self._group is None:
            return self.stop.requested
        flag = torch.tensor(int(self.stop.requested))
        dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=self._group)
        return bool(flag)

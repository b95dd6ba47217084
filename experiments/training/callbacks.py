"""What happens around the steps: numbers, validation and pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist
from lightning import Callback, LightningModule, Trainer

from experiments.errors import Interrupted, RunFailed, StoppedAtOnce
from experiments.runs import Run
from experiments.trackers.base import Tracker
from experiments.training import tables
from experiments.training.module import TrainingModule
from experiments.training.ranks import Ranks
from experiments.training.throughput import Throughput

Report = Callable[[int, dict[str, float]], None]
Check = Callable[..., None]
"""Called between the parts of long work; raises :class:`Interrupted` where it must end."""
Losses = Callable[[TrainingModule, Check], dict[str, float]]
Sheet = Callable[[TrainingModule, Check], Any]


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


class Several(Callback):
    """Callbacks as one: at each hook those that define it, in their order.

    Lightning would call each at each of the six hooks of a step, through a context of its own.
    """

    def __init__(self, callbacks: Sequence[Callback]):
        for name in (name for name in vars(Callback) if name in ("setup", "teardown") or name.startswith("on_")):
            own = [getattr(one, name) for one in callbacks if getattr(type(one), name) is not getattr(Callback, name)]
            if own:
                setattr(self, name, partial(_each, own))


def _each(functions: Sequence[Callable[..., Any]], *args: Any, **named: Any) -> None:
    for function in functions:
        function(*args, **named)


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
        self._throughput = Throughput(pl_module)

    def after_step(self, trainer: Trainer, module: TrainingModule, step: int) -> None:
        if due(step, module.config.trainer.log_every, module):
            self._log(trainer, module, step)
        elif trainer.is_global_zero and time.monotonic() - self._beat > 5:
            self._heartbeat(module, step)

    def _log(self, trainer: Trainer, module: TrainingModule, step: int) -> None:
        values = window_means(module, step)
        now = time.monotonic()
        values["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        rate = (step - self._from) / max(now - self._since, 1e-9)
        self._since, self._from = now, step
        values |= {"steps_per_second": rate} | self._throughput.numbers(rate)
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
    columns = [torch.stack([entry[name].double().flatten() for entry in window if name in entry]) for name in names]
    finite = torch.isfinite(columns[names.index("loss")][:, 0])
    if module.config.trainer.spike == "skip":  # what was not finite had no effect
        columns = [column.where(torch.isfinite(column), float("nan")) for column in columns]
        finite = finite | finite.any()
    means, finite = torch.cat([column.nanmean(dim=0) for column in columns]), finite.float()
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
            "Lower optimizer.lr, set trainer.clip, or train with trainer.precision=32-true.",
            "not finite",
        )
    numbers, values = iter(means.tolist()), {}
    for name, column in zip(names, columns, strict=True):
        own = list(islice(numbers, column.shape[1]))
        values |= tables.read(name, own) if name in tables.NAMES else {name: own[0]}
    return values


class Measure(AfterStep):
    """Something long that is done with the weights of certain steps, on all ranks, and can be stopped.

    What a stop cuts short is owed: the checkpoint of its step says so, and the run goes on by doing it.
    """

    name: str

    def __init__(self, ranks: Ranks, trackers: list[Tracker]):
        self.ranks, self.trackers = ranks, trackers

    def every(self, module: TrainingModule) -> int | None:
        """Steps between two; None for the end alone."""
        raise NotImplementedError

    def measure(self, trainer: Trainer, module: TrainingModule, step: int) -> None:
        """Do it; :class:`Interrupted` where a stop was asked for."""
        raise NotImplementedError

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        if self.name in pl_module.owed:
            self.measure(trainer, pl_module, pl_module.step)
            pl_module.owed.remove(self.name)

    def after_step(self, trainer: Trainer, module: TrainingModule, step: int) -> None:
        if not due(step, self.every(module), module):
            return
        try:
            self.ranks.check()
            self.measure(trainer, module, step)
        except StoppedAtOnce:
            raise
        except Interrupted:
            module.owed.append(self.name)


class Validate(Measure):
    """The validation loss at 8 times, by the first EMA and by the raw weights."""

    name = "validation"

    def __init__(self, losses: Losses, ranks: Ranks, trackers: list[Tracker], report: Report):
        super().__init__(ranks, trackers)
        self.losses, self.report = losses, report

    def every(self, module: TrainingModule) -> int | None:
        return module.config.trainer.validate_every

    def measure(self, trainer: Trainer, module: TrainingModule, step: int) -> None:
        values = self.losses(module, self.ranks.check)
        if trainer.is_global_zero:
            for tracker in self.trackers:
                tracker.log(step, values)
            self.report(step, values)


class Picture(Measure):
    """A sheet of samples for the trackers. All ranks draw it: none can alone of a divided network."""

    name = "samples"

    def __init__(self, sheet: Sheet, ranks: Ranks, trackers: list[Tracker]):
        super().__init__(ranks, trackers)
        self.sheet = sheet

    def every(self, module: TrainingModule) -> int | None:
        return module.config.trainer.sample_every

    def measure(self, trainer: Trainer, module: TrainingModule, step: int) -> None:
        pixels = self.sheet(module, self.ranks.check)
        for tracker in self.trackers if trainer.is_global_zero else []:
            tracker.image(step, "samples", pixels)

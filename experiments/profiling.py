"""Where the time of a training step goes: the split by part, the costliest operators, and a trace to look at."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch.profiler import ProfilerActivity, profile, record_function

from experiments.components import Components, build
from experiments.config import Config
from experiments.console import Reporter
from experiments.pairs.prepare import training_data
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training.ema import EMA
from experiments.training.fit import fit
from experiments.training.module import TrainingModule
from objectives import Draws

PARTS = ("data", "draws", "forward", "backward", "optimiser", "EMA")
WARM_UP = 3
"""Steps before anything is measured."""


@dataclass(frozen=True)
class Operator:
    """One operator's own time over the profiled steps, in seconds, on the device if there is one, else on the CPU."""

    name: str
    calls: int
    seconds: float


@dataclass(frozen=True)
class Profile:
    """What was measured.

    Attributes:
        seconds: per step, of each of PARTS and of "other" (the loop around them); together the step's.
        operators: the costliest first.
        trace: a Chrome trace of the same number of steps.
    """

    seconds: dict[str, float]
    operators: list[Operator]
    trace: Path


class _Enough(Exception):
    """All steps are done that were asked for."""


class Ranges:
    """Time inside named ranges that may be nested, each second given to the innermost one."""

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)
        self.measuring = self.tracing = False
        self._stack: list[str] = []
        self._since = 0.0

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _switch(self) -> None:
        now = self.now()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._since
        self._since = now

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        """A stretch of the step; measured, or a range in the trace, as the phase has it."""
        if self.measuring:
            self._switch()
        self._stack.append(name)
        try:
            with record_function(f"fewstep: {name}") if self.tracing else nullcontext():
                yield
        finally:
            if self.measuring:
                self._switch()
            self._stack.pop()


def _ranged(ranges: Ranges, owner: Any, method: str, name: str) -> AbstractContextManager[None]:
    """``owner.method`` inside a range, for the length of a block."""
    original = getattr(owner, method)

    def inside(*args: Any, **kwargs: Any) -> Any:
        with ranges.range(name):
            return original(*args, **kwargs)

    @contextmanager
    def patched() -> Iterator[None]:
        setattr(owner, method, inside)
        try:
            yield
        finally:
            setattr(owner, method, original)

    return patched()


class _Loader:
    """A loader whose every batch is fetched inside a range."""

    def __init__(self, loader: Any, ranges: Ranges):
        self.loader, self.ranges = loader, ranges

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        rows = iter(self.loader)
        while True:
            with self.ranges.range("data"):
                batch = next(rows, None)
            if batch is None:
                return
            yield batch


class _Phases(Callback):
    """WARM_UP steps, ``steps`` with a clock, WARM_UP again, and ``steps`` under the profiler. Then it is enough."""

    def __init__(self, ranges: Ranges, steps: int, profiler: profile):
        self.ranges, self.steps, self.profiler, self.done = ranges, steps, profiler, 0
        self.started = self.total = 0.0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        assert isinstance(pl_module, TrainingModule)
        if pl_module.step == self.done:
            return
        self.done = pl_module.step
        measured, traced = WARM_UP + self.steps, 2 * (WARM_UP + self.steps)
        if self.done == WARM_UP:
            self.ranges.measuring, self.started = True, self.ranges.now()
        elif self.done == measured:
            self.total, self.ranges.measuring = self.ranges.now() - self.started, False
        elif self.done == measured + WARM_UP:
            self.ranges.tracing = True
            self.profiler.start()
        elif self.done == traced:
            self.ranges.now()
            self.profiler.stop()
            raise _Enough


def measure(config: Config, *, steps: int, trace: Path) -> Profile:
    """Train the beginning of ``config`` in a folder that is thrown away, and look where the time goes.

    First with a clock (which on an accelerator waits for it at the border of every part), then under torch's profiler
    as the training really runs. On one process; neither checkpoints nor validation are part of it.

    Args:
        config: any; it is trained from the start whatever is there of its run.
        steps: how many are measured, and how many traced.
        trace: where the Chrome trace (JSON) is written.
    """
    needed = 2 * (WARM_UP + steps) + 1
    never = max(needed, config.trainer.max_steps) + 1
    trainer = replace(
        config.trainer, devices=1, nodes=1, strategy="auto", trackers=(), max_steps=never - 1,
        validate_every=never, checkpoint_every=never, sample_every=None,
    )  # fmt: skip
    config = replace(config, trainer=trainer, ema=replace(config.ema, snapshot_every=never))
    parts = build(config)
    parts = replace(parts, data=training_data(config, parts.data))
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])
    profiler = profile(activities=activities)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        phases = _Phases(Ranges(_device(config)), steps, profiler)
        for patch in _patches(phases.ranges, parts):
            stack.enter_context(patch)
        try:
            fit(Run.create(config, Path(folder)), stop=Stop(), reporter=Reporter("none"), parts=parts, extra=[phases])
        except _Enough:
            trace.parent.mkdir(parents=True, exist_ok=True)
            profiler.export_chrome_trace(str(trace))
    seconds = {part: phases.ranges.seconds[part] / steps for part in PARTS}
    seconds["other"] = phases.total / steps - sum(seconds.values())
    return Profile(seconds, _operators(profiler), trace)


def _device(config: Config) -> torch.device:
    cuda = torch.cuda.is_available() and config.trainer.accelerator != "cpu"
    return torch.device("cuda" if cuda else "cpu")


def _patches(ranges: Ranges, parts: Components) -> Sequence[AbstractContextManager[None]]:
    loader: Callable[..., Any] = parts.data.loader

    @contextmanager
    def loads() -> Iterator[None]:
        vars(parts.data)["loader"] = lambda *args, **kwargs: _Loader(loader(*args, **kwargs), ranges)
        try:
            yield
        finally:
            del vars(parts.data)["loader"]

    return [
        loads(),
        *(_ranged(ranges, Draws, method, "draws") for method in ("normal", "uniform", "cycle")),
        _ranged(ranges, TrainingModule, "training_step", "forward"),
        _ranged(ranges, TrainingModule, "backward", "backward"),
        _ranged(ranges, TrainingModule, "optimizer_step", "optimiser"),
        _ranged(ranges, EMA, "update", "EMA"),
    ]


def _operators(profiler: profile) -> list[Operator]:
    """By their own time on the device, or on the CPU where there is none; our ranges are none of them."""
    on_device = torch.cuda.is_available()
    found = []
    for event in profiler.key_averages():
        own = event.self_device_time_total if on_device else event.self_cpu_time_total
        if own > 0 and not event.key.startswith(("fewstep: ", "ProfilerStep")):
            found.append(Operator(event.key, event.count, own / 1e6))
    return sorted(found, key=lambda operator: -operator.seconds)

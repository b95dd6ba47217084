"""What ``fewstep train`` costs per step beyond a bare loop over the same data, network and optimiser."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import nn

from datamodules.synthetic import Synthetic
from experiments.bench.parts import PARTS, Clocks
from experiments.bench.timing import Paired, paired
from experiments.components import Components
from experiments.config import Config, parse, resolve
from experiments.console import Reporter
from experiments.errors import Interrupted
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training.fit import fit

SKIP = 5  # steps before the clock starts


@dataclass(frozen=True)
class Case:
    """A bare step against ``fewstep train``'s; ``parts`` are seconds per step of the latter, in a run of its own."""

    steps: Paired
    parts: dict[str, float]


class Clock(Callback):
    """The time from the end of step SKIP to the end of step SKIP + steps; then it asks the run to stop."""

    def __init__(self, steps: int, stop: Stop, clocks: Clocks):
        self.steps, self.stop, self.clocks, self.count = steps, stop, clocks, 0
        self.started = self.seconds = 0.0
        self.parts: dict[str, float] = {}

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        self.count += 1
        if self.count == SKIP:
            self.clocks.reset()
            self.started = time.perf_counter()
        elif self.count == SKIP + self.steps:
            self.seconds = time.perf_counter() - self.started
            self.parts = {part: self.clocks.seconds[part] / self.steps for part in PARTS}
            self.stop.requested = True


def measure(*, pairs: int = 5, threads: int = 2) -> Iterator[Case]:
    """Three cases: a step of about 50 ms, DiT-S/2 on 32×32×4 latents at batch 4, and the shipped grids' DiT."""
    torch.set_num_threads(threads)
    small = {"backbone": "dit", "data": "mnist", "trainer": {"batch_size": 24}}
    large = {"backbone": "DiT-S/2", "trainer": {"batch_size": 4}}
    digits = {"backbone": "dit", "data": "digits", "trainer": {"batch_size": 128}}
    yield _compare("DiT on MNIST, batch 24", small, None, steps=200, pairs=pairs)
    yield _compare("DiT-S/2, 32×32×4, batch 4", large, Synthetic(), steps=20, pairs=pairs)
    yield _compare("DiT on digits, batch 128", digits, None, steps=200, pairs=pairs)


def _compare(name: str, given: dict[str, Any], data: Synthetic | None, *, steps: int, pairs: int) -> Case:
    def candidate(clocks: Clocks | None = None) -> Clock:
        with tempfile.TemporaryDirectory() as folder:
            return _fewstep(given, data, steps, Path(folder), clocks or Clocks())

    found = paired(name, lambda: _bare(given, data, steps), lambda: candidate().seconds / steps, pairs=pairs)
    clocks = Clocks()
    with clocks.running():
        return Case(found, candidate(clocks).parts)


def _parts(given: dict[str, Any], data: Synthetic | None) -> tuple[Config, Components]:
    trainer = {"max_steps": 10**6, "validate_every": 10**6, **given["trainer"]}
    config = resolve(parse({"objective": "rf/lognorm(0,1)", **given, "trainer": trainer}))
    chosen = data or config.data.build()
    backbone = config.backbone.build(spec=chosen.spec, step=False)
    backbone.initialise(0)
    return config, Components(chosen, config.objective.build(), backbone)


def _fewstep(given: dict[str, Any], data: Synthetic | None, steps: int, folder: Path, clocks: Clocks) -> Clock:
    """The time of the real training: draws, logging, heartbeat, checkpoints as they are by default."""
    config, parts = _parts(given, data)
    stop = Stop()
    run, clock = Run.create(config, folder), Clock(steps, stop, clocks)
    with suppress(Interrupted):
        fit(run, stop=stop, reporter=Reporter("none"), parts=parts, extra=[clock])
    return clock


def _bare(given: dict[str, Any], data: Synthetic | None, steps: int) -> float:
    """Seconds per step of rectified flow in a plain loop: AdamW, clipping, one foreach EMA."""
    config, parts = _parts(given, data)
    dataset, network = parts.data.dataset("train"), parts.backbone
    weights: list[torch.Tensor] = list(network.parameters())
    shadow = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.AdamW(weights, lr=1e-3, fused=True)
    batch, started = config.trainer.batch_size, 0.0
    for step in range(SKIP + steps):
        if step == SKIP:
            started = time.perf_counter()
        rows = dataset[torch.randint(len(dataset), (batch,))]
        x, noise = rows["x"], torch.randn(rows["x"].shape)
        t = torch.sigmoid(torch.randn(batch))
        time_column = t.reshape(-1, *[1] * (x.ndim - 1))
        raw = network((1 - time_column) * x + time_column * noise, t, rows.get("condition"))
        loss = (raw - (noise - x)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0, foreach=True)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(shadow, weights, 0.001)  # pyright: ignore[reportPrivateImportUsage]
    return (time.perf_counter() - started) / steps

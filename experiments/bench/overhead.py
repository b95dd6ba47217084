"""What ``fewstep train`` costs per step beyond a bare loop over the same data, network and optimiser."""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import nn

from datamodules.synthetic import Synthetic
from experiments.bench.timing import Paired, paired
from experiments.components import Components
from experiments.config import Config, parse, resolve
from experiments.console import Reporter
from experiments.errors import Interrupted
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training.fit import fit

SKIP = 5  # steps before the clock starts


class Clock(Callback):
    """The time from the end of step SKIP to the end of step SKIP + steps; then it asks the run to stop."""

    def __init__(self, steps: int, stop: Stop):
        self.steps, self.stop, self.count = steps, stop, 0
        self.started = self.seconds = 0.0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        self.count += 1
        if self.count == SKIP:
            self.started = time.perf_counter()
        elif self.count == SKIP + self.steps:
            self.seconds = time.perf_counter() - self.started
            self.stop.requested = True


def measure(*, pairs: int = 5, threads: int = 2) -> list[Paired]:
    """The two cases of the issue: a step of about 50 ms, and DiT-S/2 on 32×32×4 latents at batch 4."""
    torch.set_num_threads(threads)
    small = {"backbone": "dit", "data": "mnist", "trainer": {"batch_size": 32}}
    large = {"backbone": "DiT-S/2", "trainer": {"batch_size": 4}}
    return [
        _compare("small (DiT on MNIST, batch 32)", small, None, steps=200, pairs=pairs),
        _compare("DiT-S/2, 32×32×4, batch 4", large, Synthetic(), steps=20, pairs=pairs),
    ]


def _compare(name: str, given: dict[str, Any], data: Synthetic | None, *, steps: int, pairs: int) -> Paired:
    def candidate() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return _fewstep(given, data, steps, Path(folder))

    return paired(name, lambda: _bare(given, data, steps), candidate, pairs=pairs)


def _parts(given: dict[str, Any], data: Synthetic | None) -> tuple[Config, Components]:
    trainer = {"max_steps": 10**6, "validate_every": 10**6, **given["trainer"]}
    config = resolve(parse({"objective": "rf/lognorm(0,1)", **given, "trainer": trainer}))
    chosen = data or config.data.build()
    backbone = config.backbone.build(spec=chosen.spec, step=False)
    backbone.initialise(0)
    return config, Components(chosen, config.objective.build(), backbone)


def _fewstep(given: dict[str, Any], data: Synthetic | None, steps: int, folder: Path) -> float:
    """Seconds per step of the real training: draws, logging, heartbeat, checkpoints as they are by default."""
    config, parts = _parts(given, data)
    stop = Stop()
    run, clock = Run.create(config, folder), Clock(steps, stop)
    with suppress(Interrupted):
        fit(run, stop=stop, reporter=Reporter("none"), parts=parts, extra=[clock])
    return clock.seconds / steps


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
        loss = (
            (network((1 - time_column) * x + time_column * noise, t, rows["condition"]) - (noise - x)).square().mean()
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0, foreach=True)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(shadow, weights, 0.001)  # pyright: ignore[reportPrivateImportUsage]
    return (time.perf_counter() - started) / steps

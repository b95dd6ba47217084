"""What ``fewstep train`` costs per step beyond a bare loop over the same data, network and optimiser.

Told by two clocks: wall-clock time, and the processor time of the one thread that trains. Other work on the machine is
hardly in the latter, nor is what other threads do for the training: that is a part of its own.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import nn

from datamodules.synthetic import Synthetic
from experiments.bench.parts import PARTS, Clocks
from experiments.bench.timing import Paired
from experiments.components import Components
from experiments.config import Config, parse, resolve
from experiments.console import Reporter
from experiments.errors import Interrupted
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training.fit import fit

SKIP = 5  # steps before the clock starts

Times = tuple[float, float]
"""Seconds: processor time of this thread, wall-clock time."""


@dataclass(frozen=True)
class Case:
    """A bare step against ``fewstep train``'s, by processor time (``steps``) and by the clock on the ``wall``.

    ``parts`` are processor seconds per step of the latter, in a run of its own.
    """

    steps: Paired
    wall: Paired
    parts: dict[str, float]

    @property
    def with_checkpoints(self) -> float:
        """The ratio of processor times, were all work on checkpoints added to the steps: most pairs see none of it."""
        checkpoints = sum(seconds for part, seconds in self.parts.items() if part.startswith("checkpoints"))
        return self.steps.ratio + checkpoints / statistics.median(self.steps.baseline)


class Turns(Callback):
    """After each ``turn`` steps of the training the bare loop takes as many; ``block`` steps of each are a pair.

    Neighbours in time, a fraction of a second apart: a machine whose speed changes changes both alike.
    """

    def __init__(self, bare: Iterator[None], *, turn: int, block: int, pairs: int, stop: Stop):
        self.bare, self.turn, self.turns, self.pairs, self.stop = bare, turn, block // turn, pairs, stop
        self.count, self.mark = 0, _clocks()
        self.seconds: tuple[list[Times], list[Times]] = ([], [])

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        self.count += 1
        if self.count < SKIP or (self.count - SKIP) % self.turn:
            return
        if self.count > SKIP:
            self.seconds[1].append(self._since(self.mark))
            self.seconds[0].append(self._bare(self.turn))
            self.stop.requested = len(self.seconds[0]) == self.pairs * self.turns
        else:
            self._bare(SKIP)
        self.mark = _clocks()

    def paired(self, name: str, clock: int) -> Paired:
        """Seconds per step of both, pair by pair, by the thread's ``clock`` (0) or the wall's (1)."""
        blocks = range(0, self.pairs * self.turns, self.turns)
        by_turn = ([times[clock] for times in side] for side in self.seconds)
        bare, ours = (tuple(statistics.fmean(turn[i : i + self.turns]) for i in blocks) for turn in by_turn)
        return Paired(name, bare, ours)

    def _bare(self, steps: int) -> Times:
        start = _clocks()
        for _ in range(steps):
            next(self.bare)
        return self._since(start)

    def _since(self, start: Times) -> Times:
        thread, wall = _clocks()
        return (thread - start[0]) / self.turn, (wall - start[1]) / self.turn


class Parts(Callback):
    """Seconds per step by part, from the end of step SKIP to the end of step SKIP + steps."""

    def __init__(self, steps: int, stop: Stop, clocks: Clocks):
        self.steps, self.stop, self.clocks, self.count = steps, stop, clocks, 0
        self.parts: dict[str, float] = {}

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        self.count += 1
        if self.count == SKIP:
            self.clocks.reset()
        elif self.count == SKIP + self.steps:
            self.parts = {part: self.clocks.seconds[part] / self.steps for part in PARTS}
            self.stop.requested = True


def measure(*, pairs: int = 25) -> Iterator[Case]:
    """Three cases: a step of about 50 ms, DiT-S/2 on 32×32×4 latents at batch 4, and the shipped grids' DiT.

    A pair is as long as two logged steps are apart, but for the large network, whose step hides that.
    """
    torch.set_num_threads(1)
    small = {"backbone": "dit", "data": "mnist", "trainer": {"batch_size": 14, "threads": 1}}
    large = {"backbone": "DiT-S/2", "trainer": {"batch_size": 4, "threads": 1}}
    digits = {"backbone": "dit", "data": "digits", "trainer": {"batch_size": 128, "threads": 1}}
    yield _compare("DiT on MNIST, batch 14", small, None, turn=5, block=50, pairs=pairs, steps=200)
    yield _compare("DiT-S/2, 32×32×4, batch 4", large, Synthetic(), turn=1, block=2, pairs=pairs, steps=20)
    yield _compare("DiT on digits, batch 128", digits, None, turn=5, block=50, pairs=pairs, steps=200)


def _compare(
    name: str, given: dict[str, Any], data: Synthetic | None, *, turn: int, block: int, pairs: int, steps: int
) -> Case:
    stop = Stop()
    turns = Turns(_bare(given, data), turn=turn, block=block, pairs=pairs, stop=stop)
    _fewstep(given, data, stop, turns)
    clocks, stop = Clocks(), Stop()
    parts = Parts(steps, stop, clocks)
    with clocks.running():
        _fewstep(given, data, stop, parts)
    return Case(turns.paired(name, 0), turns.paired(name, 1), parts.parts)


def _clocks() -> Times:
    return time.thread_time(), time.perf_counter()


def _parts(given: dict[str, Any], data: Synthetic | None) -> tuple[Config, Components]:
    trainer = {"max_steps": 10**6, "validate_every": 10**6, **given["trainer"]}
    config = resolve(parse({"objective": "rf/lognorm(0,1)", **given, "trainer": trainer}))
    chosen = data or config.data.build()
    backbone = config.backbone.build(spec=chosen.spec, step=False)
    backbone.initialise(0)
    return config, Components(chosen, config.objective.build(), backbone)


def _fewstep(given: dict[str, Any], data: Synthetic | None, stop: Stop, watch: Callback) -> None:
    """The real training: draws, logging, heartbeat, checkpoints as they are by default."""
    config, parts = _parts(given, data)
    with tempfile.TemporaryDirectory() as folder:
        try:
            fit(Run.create(config, Path(folder)), stop=stop, reporter=Reporter("none"), parts=parts, extra=[watch])
        except Interrupted:
            if stop.signal:  # from outside, not by ``watch``
                raise


def _bare(given: dict[str, Any], data: Synthetic | None) -> Iterator[None]:
    """Steps of rectified flow in a plain loop: AdamW, clipping, one foreach EMA."""
    config, parts = _parts(given, data)
    dataset, network = parts.data.dataset("train"), parts.backbone
    weights: list[torch.Tensor] = list(network.parameters())
    shadow = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.AdamW(weights, lr=1e-3, fused=True)
    batch = config.trainer.batch_size
    while True:
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
        yield

"""What the ranks of a training say to one another besides gradients: who must stop, and that each is alive."""

from __future__ import annotations

import secrets
from typing import Any

import torch
import torch.distributed as dist
from lightning import Callback, LightningModule, Trainer

from experiments.errors import Interrupted
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training import checkpoints
from experiments.training.heartbeat import beat


class Ranks(Callback):
    """Agreement among the ranks, over gloo and on the CPU, so that the device is not waited for. Comes first.

    Every method is called by all ranks alike, or the others wait for ever.

    Attributes:
        token: the same on all ranks, and another for every attempt at the run.
    """

    token: str

    def __init__(self, run: Run, stop: Stop):
        self.run, self.stop = run, stop
        self._group: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.stop.install()  # Lightning has just put its own SIGTERM handler in front
        number = torch.tensor(secrets.randbits(62))
        if trainer.is_global_zero:
            self.run.fence()
            checkpoints.sweep(self.run.checkpoints)
        if dist.is_initialized():
            self._group = dist.new_group(backend="gloo")
            dist.broadcast(number, 0, group=self._group)
        self.token = f"{int(number):016x}"

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        beat()

    def highest(self, level: int) -> int:
        """The highest of the ranks' levels."""
        beat()
        if self._group is None:
            return level
        dist.all_reduce(found := torch.tensor(level), op=dist.ReduceOp.MAX, group=self._group)
        return int(found)

    def stopping(self) -> bool:
        """Whether any rank was asked to stop."""
        return bool(self.highest(int(self.stop.requested)))

    def check(self, done: int = 0) -> None:
        """Raise :class:`Interrupted` on all ranks if one was asked to stop: for long work between its parts."""
        if self.stopping():
            raise Interrupted("Stopped; the same command goes on from the last checkpoint.")

    def first(self, message: str | None) -> str | None:
        """The first rank's message that is not None."""
        messages = [message]
        if self._group is not None:
            messages = [None] * dist.get_world_size()
            dist.all_gather_object(messages, message, group=self._group)
        return next((text for text in messages if text is not None), None)

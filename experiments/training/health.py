"""How large the weights are and how far a step moves them, on logged steps."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from experiments.training.callbacks import AfterStep, due
from experiments.training.module import TrainingModule
from experiments.training.sharding import norm


class Health(AfterStep):
    """Of logged steps: ``parameter_norm`` ‖θ‖ of the backbone and ``update_ratio`` ‖Δθ‖/‖θ‖. Comes before Record.

    It needs a copy of the weights for the length of that optimiser step.
    """

    def __init__(self) -> None:
        self._before: list[Tensor] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        assert isinstance(pl_module, TrainingModule)
        if due(pl_module.step + 1, pl_module.config.trainer.log_every, pl_module):
            self._before = [weight.detach().clone() for weight in pl_module.backbone.parameters()]

    @torch.no_grad()
    def after_step(self, trainer: Trainer, module: TrainingModule, step: int) -> None:
        if self._before:
            before, self._before = self._before, []
            size = norm(before)
            moved = torch._foreach_sub(list(module.backbone.parameters()), before)  # pyright: ignore[reportPrivateImportUsage]
            module.window[-1] |= {"parameter_norm": size, "update_ratio": norm(moved) / size}

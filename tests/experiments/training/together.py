"""Jobs for a few processes that have joined once: each is a real training of a run. Used by test_together.py alone.

``python -P together.py JOBS.json``, with the ranks' environment set; JOBS is a list of {"run": folder} and options.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from functools import partialmethod
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from experiments.components import Components, build
from experiments.console import Reporter
from experiments.errors import Interrupted
from experiments.pairs.prepare import training_data
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training.fit import fit
from experiments.training.module import TrainingModule
from experiments.training.sharding import average_gradients, whole


class KeepGradients(Callback):
    """Writes what the first optimiser step is given, before it is clipped, and ends the training."""

    def __init__(self, file: Path):
        self.file = file

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        assert isinstance(pl_module, TrainingModule)
        if pl_module.config.trainer.strategy == "fsdp":
            average_gradients(pl_module.objective.parameters())  # the module does so a moment later, when it clips
        grads = {name: whole(p.grad).clone() for name, p in pl_module.named_parameters() if p.grad is not None}
        if trainer.is_global_zero:
            torch.save(grads, self.file)
        raise Interrupted("That was all.")


class StopIn(Callback):
    """Asks one rank for a stop in the course of a step (counted from 1)."""

    def __init__(self, step: int, stop: Stop):
        self.step, self.stop = step, stop

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_rank == trainer.world_size - 1:
            self.stop.requested = self.stop.requested or pl_module.step + 1 >= self.step


def awake(run: Run) -> Components:
    """The parts of a run, the backbone without a weight at zero: at the published start hardly any gradient flows."""
    parts = build(run.config)
    parts = replace(parts, data=training_data(run.config, parts.data, run.path))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in parts.backbone.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return parts


def train(job: dict[str, Any]) -> None:
    run, stop = Run.open(job["run"]), Stop()
    extra: list[Callback] = []
    if "stop_in" in job:
        extra.append(StopIn(job["stop_in"], stop))
    if job.get("gradients"):
        extra.append(KeepGradients(run.path / "gradients.pt"))
    parts = awake(run) if job.get("awake") else None
    if parts is not None and os.environ["LOCAL_RANK"] == "0":
        torch.save({name: value.float() for name, value in parts.backbone.state_dict().items()}, run.path / "start.pt")
    try:
        fit(run, stop=stop, reporter=Reporter("none"), parts=parts, extra=extra)
    except Interrupted:
        assert "stop_in" in job or "gradients" in job


if __name__ == "__main__":
    torch.set_num_threads(1)
    compiling = partialmethod(TrainingModule.compile_networks, backend="eager")  # that generates no code
    setattr(TrainingModule, "compile_networks", compiling)  # noqa: B010
    for each in json.loads(Path(sys.argv[1]).read_text()):
        train(each)
    sys.stdout.flush()
    os._exit(0)

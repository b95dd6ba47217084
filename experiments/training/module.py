"""The Lightning module: a batch, its draws, the objective's loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from datamodules.order import positions
from experiments.config import Config
from experiments.errors import UserError
from experiments.training.blocks import blocks, recompute
from experiments.training.checkpoints import mismatches
from experiments.training.ema import EMA, averages
from experiments.training.frozen import Frozen, Teachers
from experiments.training.precision import BATCH, WEIGHTS
from experiments.training.schedules import Schedule
from experiments.training.sharding import average_gradients, clip, divide, divided_like, local, norm
from experiments.training.spikes import Spikes, made_to_skip, seed_after
from experiments.training.tables import tables
from experiments.training.window import merge
from objectives import Draws, Objective


class TrainingModule(LightningModule):
    """Trains ``backbone`` by ``objective``; keeps its EMAs; gives and takes the state of a checkpoint.

    ``trained`` is the network of the run that teaches, where the objective asks for one.
    """

    def __init__(
        self,
        config: Config,
        objective: Objective,
        backbone: nn.Module,
        augment: Callable[..., dict[str, Any]],
        trained: Frozen | None = None,
    ):
        super().__init__()
        precision = config.trainer.precision
        backbone.to(WEIGHTS.get(precision, torch.float32))
        self.config, self.augment, self._batch_dtype = config, augment, BATCH.get(precision, torch.float32)
        self.objective, self.backbone = objective, backbone
        self.emas = nn.ModuleList(averages(backbone, config.ema))
        self.teachers = Teachers(objective, backbone, trained)
        self.schedule: Schedule = config.schedule.build()
        self.first_step = 0
        self.window: list[dict[str, Tensor]] = []
        self.owed: list[str] = []  # what a stop cut short at this step
        self.spikes = Spikes.of(config.trainer)
        self.roll_backs = 0
        self._skip: Callable[[Tensor], None] | None = None
        self._former: list[list[dict[str, Tensor]]] = []  # the ranks' windows in the checkpoint
        self._former_accumulate = 1
        self._drawn: dict[int, Draws] = {}  # by micro-batch
        self._optimizer_state: dict[str, Any] | None = None
        self._divided = False
        if config.trainer.activation_checkpointing:
            recompute(backbone)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_current_fx_name":  # Lightning writes it down some fifty times a step; a module's own way is slow
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def compile_networks(self, **options: Any) -> None:
        """``torch.compile`` for the backbone, and for all that teach it; names stay as they are.

        Under FSDP2 it is block by block, since between blocks weights are gathered.
        """
        needs, average = self.objective.needs, self.average
        asked = [average.network] if average is not None and (needs.average or needs.teacher == "ema") else []
        for network in (self.backbone, *asked, *self.teachers.networks):
            if self.config.trainer.strategy == "fsdp":
                for block in blocks(network):
                    block.forward = torch.compile(block.forward, **options)
            else:
                network.compile(**options)

    def configure_model(self) -> None:
        """Under FSDP2: divide the backbone, its averages and teachers, which hold what a checkpoint held by now."""
        if isinstance(self.trainer.strategy, ModelParallelStrategy) and not self._divided:
            assert self.device_mesh is not None
            averaged = (ema.network for ema in self.emas if isinstance(ema, EMA))
            for network in (self.backbone, *averaged, *self.teachers.networks):
                divide(network, self.device_mesh["data_parallel"])
            self._divided = True

    @property
    def average(self) -> EMA | None:
        """The first average, which may teach."""
        first = self.emas[0] if len(self.emas) else None
        assert first is None or isinstance(first, EMA)
        return first

    @property
    def step(self) -> int:
        """Optimiser steps done, those before a resume included."""
        return self.first_step + self.global_step

    @property
    def seed(self) -> int:
        """Of draws and data order: the run's, and after each roll-back another."""
        return seed_after(self.config.seed, self.roll_backs)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        draws = self._draws(batch_idx)
        batch = self.augment({**batch, "x": batch["x"].to(self._batch_dtype)}, draws)
        if self.objective.needs.pairs:
            draws = draws.given(noise=batch["noise"].to(self._batch_dtype))
        progress = self.step / self.config.trainer.max_steps
        asked = self.teachers.at(progress, self.backbone, self.average)
        loss = self.objective.loss(self.backbone, batch["x"], batch.get("condition"), draws, progress=progress, **asked)
        mean = loss.per_sample.mean()
        told = tables(loss) if self.config.trainer.health else {}
        self.window.append({"loss": mean.detach(), **loss.logs, **told})
        return mean

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Lightning's; a batch for the CPU is there already, and Lightning would look through it for nothing."""
        return batch if device.type == "cpu" else super().transfer_batch_to_device(batch, device, dataloader_idx)

    def _draws(self, batch_idx: int) -> Draws:
        """The randomness of this micro-batch, by the positions of its rows in the global batch."""
        trainer = self.config.trainer
        micro = batch_idx % trainer.accumulate
        if micro not in self._drawn or self._drawn[micro].seed != self.seed:
            rows = positions(
                0, trainer.batch_size, self.global_rank, self.trainer.world_size, trainer.accumulate, micro
            )
            self._drawn[micro] = Draws(self.seed, self.step, rows.to(self.device), trainer.batch_size)
        return self._drawn[micro].at(self.step)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        named = [*self.backbone.named_parameters(), *self.objective.named_parameters()]
        optimizer = self.config.optimizer.build().create((name, p) for name, p in named if p.requires_grad)
        if self._optimizer_state is not None:
            groups = optimizer.state_dict()["param_groups"]  # hyper-parameters are the configuration's
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            state = {
                i: {name: divided_like(v, weights[i]) if isinstance(v, Tensor) else v for name, v in values.items()}
                for i, values in self._optimizer_state["state"].items()
            }
            optimizer.load_state_dict({"state": state, "param_groups": groups})
        if self.config.trainer.spike == "skip":
            self._skip = made_to_skip(optimizer)
        first, last = self.first_step, self.config.trainer.max_steps
        scheduler = LambdaLR(optimizer, lambda step: self.schedule(first + step, last))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Clip by the global norm, keep it, and look whether it leaps.

        Ours: Lightning 2.6 refuses a fused optimiser under bf16-mixed.
        """
        if self._divided:
            average_gradients(self.objective.parameters())
        settings, entry = self.config.trainer, self.window[-1]
        weights = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if settings.clip is not None:
            entry["grad_norm"] = clip(weights, settings.clip).detach()
        elif self.spikes or (settings.health and self.logs(self.step + 1)):
            entry["grad_norm"] = norm([weight.grad for weight in weights if weight.grad is not None])
        if self.spikes:
            loss = torch.stack([each["loss"] for each in self.window[-settings.accumulate :]]).mean()
            leaps = self.spikes.leaps(self.step, entry["grad_norm"], loss)
            entry["spikes"] = leaps.float()
            if self._skip:
                self._skip(leaps)

    def logs(self, step: int) -> bool:
        """Whether numbers are logged after ``step``."""
        return step % self.config.trainer.log_every == 0 or step == self.config.trainer.max_steps

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        for ema in self.emas:
            assert isinstance(ema, EMA)
            ema.update(self.backbone, self.step + 1)

    def checkpoint(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on, and nothing of how or where it runs."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        return {
            "step": self.step,
            "identity": self.config.hash,
            "backbone": self.backbone.state_dict(),
            "objective": self.objective.state_dict(),
            "emas": [ema.network.state_dict() for ema in self.emas if isinstance(ema, EMA)],
            "optimizer": optimizer.state_dict(),
            "accumulate": self.config.trainer.accumulate,
            "owed": self.owed,
            "roll_backs": self.roll_backs,
            "spikes": self.spikes.recent if self.spikes else None,
            **self.teachers.checkpoint(),
        }

    def ranked(self) -> dict[str, Any]:
        """What a checkpoint keeps of this rank alone."""
        return {"window": self.window}

    def own_tensors(self) -> list[Tensor]:
        """The backbone's weights, or this process's pieces of them."""
        return [own for parameter in self.backbone.parameters() if (own := local(parameter)).numel()]

    def on_train_start(self) -> None:
        """Take up the window of this rank; all get the ranks' mean where the work is divided otherwise than before."""
        windows, now = self._former, self.config.trainer.accumulate
        if len(windows) != self.trainer.world_size or self._former_accumulate != now:
            window = merge(windows, then=self._former_accumulate, now=now)
        else:
            window = windows[self.global_rank]
        self.window = [{name: value.to(self.device) for name, value in entry.items()} for entry in window]

    def begin(self, weights: Mapping[str, Any]) -> None:
        """Begin with another network's weights, averages included; what it has not keeps its initial values."""
        self.backbone.load_state_dict({**self.backbone.state_dict(), **weights})
        for ema in self.emas:
            assert isinstance(ema, EMA)
            ema.network.load_state_dict(self.backbone.state_dict())

    def restore(self, state: Mapping[str, Any], source: str) -> None:
        """Go on from a checkpoint; a :class:`UserError` that lists the differences if it is another network's."""
        check_fits(self.backbone, self.objective, len(self.emas), state, source)
        self.backbone.load_state_dict(state["backbone"])
        self.objective.load_state_dict(state["objective"])
        for ema, weights in zip(self.emas, state["emas"], strict=True):
            assert isinstance(ema, EMA)
            ema.network.load_state_dict(weights)
        self.teachers.restore(state)
        self.first_step, self._optimizer_state = state["step"], state["optimizer"]
        self.owed = list(state.get("owed", []))
        self.roll_backs = state.get("roll_backs", 0)
        if self.spikes and state.get("spikes") is not None:
            self.spikes.recent = state["spikes"]
        self._former = [rank["window"] for rank in state["ranks"]]
        self._former_accumulate = state.get("accumulate", 1)


def check_fits(backbone: nn.Module, objective: nn.Module, emas: int, state: Mapping[str, Any], source: str) -> None:
    """Raise a :class:`UserError` that lists what differs between what is configured and a checkpoint's content."""
    for what, module, weights in (("architecture", backbone, "backbone"), ("objective", objective, "objective")):
        lines = mismatches(module.state_dict(), state[weights])
        if lines:
            more = f"\n  … and {len(lines) - 10} more" if len(lines) > 10 else ""
            raise UserError(
                f"{source} is a checkpoint of another {what} than {type(module).__name__} as configured:\n  "
                + "\n  ".join(lines[:10]) + more
            )  # fmt: skip
    if len(state["emas"]) != emas:
        raise UserError(f"{source} holds {len(state['emas'])} averages; the configuration asks for {emas}.")

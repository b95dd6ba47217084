"""Steps whose gradient or loss leaps out of the recent ones: found on the device, skipped there, or rolled back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import AdamW, Optimizer

from experiments.config.schema import Trainer as Settings
from experiments.training.sharding import local


class RollBack(Exception):
    """The training must go on from before ``step``, which leapt; the ``count``-th time. Raised on all ranks alike."""

    def __init__(self, why: str, *, step: int, count: int):
        super().__init__(why)
        self.step, self.count = step, count


class Spikes:
    """Tells which steps leap: whose gradient norm or loss is not finite, or beyond ``factor`` times its running median.

    v leaps where v > m + (factor − 1)·|m|, m being the median of the last ``window`` steps' values; that is factor·m
    for what is positive. Until half of the window is filled the median is infinite, and nothing finite leaps. A value
    that leapt counts for the median as any other, so that a new level is got used to. Nothing waits for the device.

    Args:
        factor: above 1.
        window: steps.
    """

    def __init__(self, factor: float, window: int):
        self.factor = factor
        self.recent = torch.full((2, window), float("inf"))

    @classmethod
    def of(cls, settings: Settings) -> Spikes | None:
        """What a configuration asks for."""
        return cls(settings.spike_factor, settings.spike_window) if settings.spike else None

    @torch.no_grad()
    def leaps(self, step: int, norm: Tensor, loss: Tensor) -> Tensor:
        """Take in a step's gradient norm and loss; a bool tensor without dimensions, the same on all ranks.

        Args:
            step: its number, so that an interrupted training goes on in the same place.
            norm: of the gradient, the same on all ranks.
            loss: this rank's; the mean over the ranks counts.
        """
        values = torch.stack((norm.float(), loss.float()))
        if dist.is_initialized():
            dist.all_reduce(values)
            values = values / dist.get_world_size()
        self.recent = self.recent.to(values.device)
        window = self.recent.shape[1]
        median = self.recent.sort(dim=1).values[:, window // 2]
        finite = torch.isfinite(values)
        self.recent[:, step % window] = torch.where(finite, values, float("inf"))
        return (~finite | (values > median + (self.factor - 1) * median.abs())).any()


def made_to_skip(optimizer: Optimizer) -> Callable[[Tensor], None]:
    """A function that makes the optimiser's present step do nothing where its flag, a bool tensor, is true.

    It is called between the backward pass and the update. Fused AdamW can leave out an update by itself; of any other
    optimiser's weights and state a copy is kept through each step.
    """
    if type(optimizer) is AdamW and all(group["fused"] for group in optimizer.param_groups):
        return lambda flag: setattr(optimizer, "found_inf", flag.float())
    undo = _Undo()
    optimizer.register_step_pre_hook(undo.before)
    optimizer.register_step_post_hook(undo.after)
    return undo.decide


class _Undo:
    """Puts back, where the flag is true, what was before the step."""

    def __init__(self) -> None:
        self._flag: Tensor | None = None
        self._kept: dict[int, Tensor] = {}

    def decide(self, flag: Tensor) -> None:
        self._flag = flag

    @torch.no_grad()
    def before(self, optimizer: Optimizer, *_: Any) -> None:
        self._flag = None
        self._kept = {id(tensor): local(tensor).clone() for tensor in _tensors(optimizer)}

    @torch.no_grad()
    def after(self, optimizer: Optimizer, *_: Any) -> None:
        assert self._flag is not None
        for tensor in _tensors(optimizer):
            now = local(tensor)
            before = self._kept.get(id(tensor), torch.zeros_like(now))  # a state's tensors begin as zeros
            now.copy_(torch.where(self._flag.to(now.device), before, now))
        self._kept = {}


def _tensors(optimizer: Optimizer) -> list[Tensor]:
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state = [value for values in optimizer.state.values() for value in values.values() if isinstance(value, Tensor)]
    return [*weights, *state]


def seed_after(seed: int, roll_backs: int) -> int:
    """The seed of draws and data order after so many roll-backs: the run's own without any, then always another."""
    if roll_backs == 0:
        return seed
    digest = hashlib.sha256(f"{seed}/roll-back/{roll_backs}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1

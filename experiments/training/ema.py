"""Moving averages of the backbone's weights: constant decays and EDM2's power profiles."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from experiments.config.averages import EVERY
from experiments.config.schema import EMA as Settings
from experiments.training.power import exponent, factor


class EMA(nn.Module):
    """A shadow of a network in float32 at least: θ̂ ← β θ̂ + (1 − β) θ after every optimiser step.

    It is itself the averaged network, called as the network is: the teacher of few-step objectives and the one that
    is evaluated. With ``warmup``, β = min(decay, (1 + n) / (10 + n)) at the n-th step, so that the first steps are
    forgotten; without, the initial weights fade as decay^n.

    With ``every`` = k only each k-th step updates, by the product of the k steps' β: the same average, of weights that
    are held still in between. After n steps it then stands where step n − n mod k left it.

    Args:
        network: what is averaged; its present weights are the start.
        decay: β of a step, within [0, 1).
        warmup: keep the average young at the start of the training.
        every: k.
    """

    def __init__(self, network: nn.Module, decay: float, *, warmup: bool = True, every: int = 1):
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.network.to(torch.promote_types(next(network.parameters()).dtype, torch.float32))
        self.decay, self.warmup, self.every = decay, warmup, every
        self._pairs: tuple[list[Tensor], list[Tensor]] | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.network(*args, **kwargs)

    def train(self, mode: bool = True) -> EMA:
        """The shadow stays in evaluation mode whatever the module around it does."""
        return super().train(False)

    def beta(self, update: int) -> float:
        """The factor on the shadow at step ``update`` (counted from 1, a multiple of ``every``)."""
        steps = range(update - self.every + 1, update + 1)
        return math.prod(min(self.decay, (1 + n) / (10 + n)) if self.warmup else self.decay for n in steps)

    @torch.no_grad()
    def update(self, network: nn.Module, update: int) -> None:
        """Move the shadow towards ``network``'s weights, if step ``update`` (counted from 1) is one that does."""
        if update % self.every:
            return
        if self._pairs is None:
            self._pairs = list(self.network.parameters()), list(network.parameters())
        shadow, source = self._pairs
        if source[0].dtype != shadow[0].dtype:
            source = [parameter.to(shadow[0].dtype) for parameter in source]
        torch._foreach_lerp_(shadow, source, 1 - self.beta(update))  # pyright: ignore[reportPrivateImportUsage]


class PowerEMA(EMA):
    """The power-function average of relative width σ_rel: β = (1 − k/n)^{γ+1} at step n (EDM2, eq. 127).

    β is 0 at the first update: the initial weights have no part in it.

    Args:
        network: what is averaged.
        sigma_rel: standard deviation of the profile over the length of the training so far.
        every: k.

    Raises:
        ValueError: ``sigma_rel`` is not within (0, √(1/12)].
    """

    def __init__(self, network: nn.Module, sigma_rel: float, *, every: int = 1):
        super().__init__(network, 0.0, warmup=False, every=every)
        self.sigma_rel, self.gamma = sigma_rel, exponent(sigma_rel)

    def beta(self, update: int) -> float:
        """The factor on the shadow at step ``update`` (counted from 1, a multiple of ``every``)."""
        return factor(self.gamma, update, self.every)


def averages(network: nn.Module, settings: Settings) -> list[EMA]:
    """The averages that a configuration asks for: its decays, then its profiles.

    The first is updated after every step, since it may teach; the others after every tenth.
    """
    made: list[EMA] = []
    for decay in settings.decays:
        made.append(EMA(network, decay, warmup=settings.warmup, every=EVERY if made else 1))
    for sigma_rel in settings.profiles:
        made.append(PowerEMA(network, sigma_rel, every=EVERY if made else 1))
    return made

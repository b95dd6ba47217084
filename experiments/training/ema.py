"""Exponential moving averages of the backbone's weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class EMA(nn.Module):
    """A float32 shadow of a network: θ̂ ← β θ̂ + (1 − β) θ after every optimiser step.

    It is itself the averaged network, called as the network is: the teacher of few-step objectives and the one that
    is evaluated. With ``warmup``, β = min(decay, (1 + n) / (10 + n)) at the n-th update, so that the first steps are
    forgotten; without, the initial weights fade as decay^n.
    """

    def __init__(self, network: nn.Module, decay: float, *, warmup: bool = True):
        super().__init__()
        self.network = copy.deepcopy(network).float().requires_grad_(False).eval()
        self.decay, self.warmup = decay, warmup
        self._pairs: tuple[list[Tensor], list[Tensor]] | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.network(*args, **kwargs)

    def train(self, mode: bool = True) -> EMA:
        """The shadow stays in evaluation mode whatever the module around it does."""
        return super().train(False)

    def beta(self, update: int) -> float:
        """β at the ``update``-th update, counted from 1."""
        return min(self.decay, (1 + update) / (10 + update)) if self.warmup else self.decay

    @torch.no_grad()
    def update(self, network: nn.Module, update: int) -> None:
        """Move the shadow towards ``network``'s weights; ``update`` counts from 1."""
        if self._pairs is None:
            self._pairs = list(self.network.parameters()), list(network.parameters())
        shadow, source = self._pairs
        if source[0].dtype != torch.float32:
            source = [parameter.float() for parameter in source]
        torch._foreach_lerp_(shadow, source, 1 - self.beta(update))  # pyright: ignore[reportPrivateImportUsage]

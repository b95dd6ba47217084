"""Variance-preserving paths, given by how deep in the noise a time is."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from objectives.paths.base import Path


class VariancePreserving(Path):
    """a² + b² = 1, told by depth(t) = −ln a²(t), which rises from 0; its ODE is integrated in τ = arctan(b/a)."""

    @abstractmethod
    def depth(self, t: Tensor) -> Tensor:
        """−ln a², float64."""

    @abstractmethod
    def rate(self, t: Tensor) -> Tensor:
        """d depth/dt, float64."""

    def a(self, t: Tensor) -> Tensor:
        return torch.exp(-0.5 * self.depth(t)).to(t.dtype)

    def b(self, t: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(-self.depth(t))).to(t.dtype)

    def da(self, t: Tensor) -> Tensor:
        return (-0.5 * torch.exp(-0.5 * self.depth(t)) * self.rate(t)).to(t.dtype)

    def db(self, t: Tensor) -> Tensor:
        depth = self.depth(t)
        return (0.5 * torch.exp(-depth) * self.rate(t) / torch.sqrt(-torch.expm1(-depth))).to(t.dtype)

    def log_snr(self, t: Tensor) -> Tensor:
        depth = self.depth(t)
        return (-depth - torch.log(-torch.expm1(-depth))).to(t.dtype)

    def clock(self, t: Tensor) -> Tensor:
        depth = self.depth(t)
        return torch.atan2(torch.sqrt(-torch.expm1(-depth)), torch.exp(-0.5 * depth)).to(t.dtype)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return -self.b(t), self.a(t)

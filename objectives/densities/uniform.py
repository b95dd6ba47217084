"""The uniform density."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.densities.base import TimeDensity


@dataclass(frozen=True)
class Uniform(TimeDensity):
    """Uniform: π(t) = 1, SD3's plain "rf"."""

    def quantile(self, u: Tensor) -> Tensor:
        return u

    def cdf(self, t: Tensor) -> Tensor:
        return t

    def pdf(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

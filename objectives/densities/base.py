"""What a density of training times is: a rising quantile function, its inverse and its derivative's inverse."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

_HALVINGS = 60


class TimeDensity(ABC):
    """A density π(t) on [0, 1]. Every method maps element by element, in its argument's dtype."""

    version: ClassVar[int] = 1

    @abstractmethod
    def quantile(self, u: Tensor) -> Tensor:
        """t with cdf(t) = u: rises from 0 to 1, so that quantile(U(0, 1)) follows the density."""

    def cdf(self, t: Tensor) -> Tensor:
        """P(time ≤ t). Where a density has no closed form: `quantile` inverted by bisection in float64."""
        target = t.to(torch.float64)
        low, high = torch.zeros_like(target), torch.ones_like(target)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            below = self.quantile(middle) < target
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return ((low + high) / 2).to(t.dtype)

    @abstractmethod
    def pdf(self, t: Tensor) -> Tensor:
        """π(t) = d cdf/dt; may be infinite at single points."""

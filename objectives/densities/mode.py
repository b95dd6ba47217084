"""SD3's density with heavy tails."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.densities.base import TimeDensity

_LARGEST = 2 / (math.pi - 2)


@dataclass(frozen=True)
class Mode(TimeDensity):
    """Mode sampling with heavy tails: t = u + s·(u − sin²(πu/2)).

    SD3 writes t = f(u) = 1 − u − s·(cos²(πu/2) − 1 + u), which falls; this is f(1−u), which rises and has the same
    law. s > 0 favours the middle, s < 0 the ends, s = 0 is uniform. π(t) = 1/(1 + s − (πs/2)·sin πu) at u = cdf(t):
    infinite at t = ½ for the largest s, at both ends for s = −1.
    Source: Esser et al. 2024 (SD3), eq. 20.

    Args:
        s: scale, in [−1, 2/(π−2)] = [−1, 1.7519…]; beyond, f is not monotone.

    Raises:
        ValueError: s out of range.
    """

    s: float = 1.29

    def __post_init__(self) -> None:
        if not -1 <= self.s <= _LARGEST:
            raise ValueError(f"mode takes a scale s in [-1, 1.7519] (up to 2/(π−2)), got {self.s}")

    def quantile(self, u: Tensor) -> Tensor:
        return u + self.s * (u - torch.sin(0.5 * math.pi * u) ** 2)

    def pdf(self, t: Tensor) -> Tensor:
        u = self.cdf(t)
        return 1 / (1 + self.s - 0.5 * math.pi * self.s * torch.sin(math.pi * u))

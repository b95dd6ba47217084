"""SD3's density that gives rectified flow the log-SNR law of the cosine schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.densities.base import TimeDensity


@dataclass(frozen=True)
class CosMap(TimeDensity):
    """CosMap: t = 1 − 1/(tan(πu/2) + 1), π(t) = 2/(π − 2πt + 2πt²).

    The log-SNR of the straight path then follows the cosine schedule's law.
    Source: Esser et al. 2024 (SD3), eq. 21 and 22.
    """

    def quantile(self, u: Tensor) -> Tensor:
        sine, cosine = torch.sin(0.5 * math.pi * u), torch.cos(0.5 * math.pi * u)
        return sine / (sine + cosine)

    def cdf(self, t: Tensor) -> Tensor:
        return 2 / math.pi * torch.atan2(t, 1 - t)

    def pdf(self, t: Tensor) -> Tensor:
        return 2 / (math.pi * (1 - 2 * t + 2 * t**2))

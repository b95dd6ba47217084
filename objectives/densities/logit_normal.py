"""The logit-normal density."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.densities.base import TimeDensity


@dataclass(frozen=True)
class LogitNormal(TimeDensity):
    """Logit-normal: logit t ~ N(m, s²).

    π(t) = exp(−(logit t − m)²/2s²) / (s·√2π·t·(1−t)); m < 0 leans to the data, m > 0 to the noise. On the
    variance-exploding path this is EDM's ln σ ~ N(m, s²).
    Source: Esser et al. 2024 (SD3), eq. 19; Karras et al. 2022 (EDM), table 1.

    Args:
        m: mean of logit t, in [−10, 10].
        s: standard deviation of logit t, in [0.001, 10].

    Raises:
        ValueError: a parameter out of range; beyond these bounds times collapse onto a point or onto the ends.
    """

    m: float = 0.0
    s: float = 1.0

    def __post_init__(self) -> None:
        if not -10 <= self.m <= 10:
            raise ValueError(f"lognorm takes a mean m in [-10, 10], got {self.m}")
        if not 0.001 <= self.s <= 10:
            raise ValueError(f"lognorm takes a standard deviation s in [0.001, 10], got {self.s}")

    def quantile(self, u: Tensor) -> Tensor:
        return torch.sigmoid(self.m + self.s * torch.special.ndtri(u))

    def cdf(self, t: Tensor) -> Tensor:
        return torch.special.ndtr((torch.logit(t) - self.m) / self.s)

    def pdf(self, t: Tensor) -> Tensor:
        logit = torch.logit(t)
        # 1/(t(1−t)) = (2 cosh(logit/2))², taken into the exponent, where 0·∞ at the ends cannot arise.
        stretch = 2 * torch.nn.functional.softplus(logit.abs().neg()) + logit.abs()
        exponent = stretch - 0.5 * ((logit - self.m) / self.s) ** 2
        density = torch.exp(exponent) / (self.s * math.sqrt(2 * math.pi))
        return torch.where(logit.isinf(), torch.zeros_like(density), density)

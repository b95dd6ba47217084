"""The density of TrigFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.densities.base import TimeDensity


@dataclass(frozen=True)
class TanNormal(TimeDensity):
    """Log-normal tangent: ln tan(πt/2) ~ N(m, s²).

    On the path trig the noise-to-signal ratio is σ = σ_data·tan(πt/2), so that ln σ ~ N(P_mean, P_std²) is
    m = P_mean − ln σ_data, s = P_std. The defaults are sCM's −1.0 and 1.4 at σ_data = 0.5.
    π(t) = exp(−(ln tan(πt/2) − m)²/2s²)·√(π/2)/(s·sin(πt)). Source: Lu and Song 2024 (sCM), §4 and algorithm 1.

    Args:
        m: mean of ln tan(πt/2), in [−10, 10].
        s: its standard deviation, in [0.001, 10].

    Raises:
        ValueError: a parameter out of range.
    """

    m: float = -0.307
    s: float = 1.4

    def __post_init__(self) -> None:
        if not -10 <= self.m <= 10:
            raise ValueError(f"tan_lognorm takes a mean m in [-10, 10], got {self.m}")
        if not 0.001 <= self.s <= 10:
            raise ValueError(f"tan_lognorm takes a standard deviation s in [0.001, 10], got {self.s}")

    def quantile(self, u: Tensor) -> Tensor:
        return 2 / math.pi * torch.atan(torch.exp(self.m + self.s * torch.special.ndtri(u)))

    def cdf(self, t: Tensor) -> Tensor:
        return torch.special.ndtr((_level(t) - self.m) / self.s)

    def pdf(self, t: Tensor) -> Tensor:
        level = _level(t)
        # π/sin(πt) = (π/2)·2 cosh(level), taken into the exponent, where 0·∞ at the ends cannot arise.
        stretch = level.abs() + torch.log1p(torch.exp(-2 * level.abs()))
        exponent = stretch - 0.5 * ((level - self.m) / self.s) ** 2
        density = torch.exp(exponent) * math.sqrt(math.pi / 8) / self.s
        return torch.where(level.isinf(), torch.zeros_like(density), density)


def _level(t: Tensor) -> Tensor:
    """ln tan(πt/2), to full precision at both ends."""
    return torch.log(torch.sin(0.5 * math.pi * t)) - torch.log(torch.sin(0.5 * math.pi * (1 - t)))

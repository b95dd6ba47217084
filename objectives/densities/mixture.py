"""Two densities mixed."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.densities.base import TimeDensity
from objectives.densities.logit_normal import LogitNormal
from objectives.densities.uniform import Uniform

_LOGIT_NORMAL, _UNIFORM = LogitNormal(), Uniform()
_REACH, _KNOTS = 36.0, 513
_ITERATIONS = 4


@dataclass(frozen=True)
class Mixture(TimeDensity):
    """Mixture: π = (1 − share)·π_first + share·π_second.

    By default a logit-normal with one time in ten uniform, so that the ends, where a logit-normal is zero, are trained
    too. The quantile function solves (1 − share)·F_first(t) + share·F_second(t) = u by Newton's method inside brackets
    from a table built once.

    Args:
        first, second: the densities mixed.
        share: of the second, in [0.001, 0.999].

    Raises:
        ValueError: share out of range.
    """

    first: TimeDensity = _LOGIT_NORMAL
    second: TimeDensity = _UNIFORM
    share: float = 0.1

    def __post_init__(self) -> None:
        if not 0.001 <= self.share <= 0.999:
            raise ValueError(f"mixture takes a share of its second density in [0.001, 0.999], got {self.share}")

    def cdf(self, t: Tensor) -> Tensor:
        return (1 - self.share) * self.first.cdf(t) + self.share * self.second.cdf(t)

    def pdf(self, t: Tensor) -> Tensor:
        return (1 - self.share) * self.first.pdf(t) + self.share * self.second.pdf(t)

    def quantile(self, u: Tensor) -> Tensor:
        wide = u.to(torch.float64)
        with torch.no_grad():
            t = self._solved(wide)
            density, residual = self.pdf(t), self.cdf(t)
        # One more of Newton's steps, with u's gradient: dt/du = 1/π(t).
        step = (wide - residual) / density.clamp(min=1e-300)
        step = torch.where(step.detach().abs() < 1e-6, step, step - step.detach())
        t = (t + step).clamp(0, 1)
        t = torch.where(wide <= 0, torch.zeros_like(t), torch.where(wide >= 1, torch.ones_like(t), t))
        return t.to(u.dtype)

    def _solved(self, u: Tensor) -> Tensor:
        times, levels = _brackets(self, u.device)
        right = torch.searchsorted(levels, u.contiguous()).clamp(1, len(levels) - 1)
        low, high = times[right - 1], times[right]
        t = low + (high - low) * (u - levels[right - 1]) / (levels[right] - levels[right - 1]).clamp(min=1e-300)
        for _ in range(_ITERATIONS):
            residual = self.cdf(t) - u
            low, high = torch.where(residual < 0, t, low), torch.where(residual < 0, high, t)
            t = t - residual / self.pdf(t)
            t = torch.where((t >= low) & (t <= high), t, (low + high) / 2)
        return t


@functools.lru_cache(maxsize=64)
def _brackets(mixture: Mixture, device: torch.device) -> tuple[Tensor, Tensor]:
    """Times dense wherever either component is, ends included, and the mixture's cdf there; both rise."""
    u = torch.sigmoid(torch.linspace(-_REACH, _REACH, _KNOTS, dtype=torch.float64, device="cpu"))
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64, device="cpu")
    times = torch.cat((mixture.first.quantile(u), mixture.second.quantile(u), ends)).unique()
    levels = mixture.cdf(times).cummax(0).values
    return times.to(device), levels.to(device)

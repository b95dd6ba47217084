"""A density moved towards the noise or the data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from objectives.densities.base import TimeDensity
from objectives.densities.logit_normal import LogitNormal

_LOGIT_NORMAL = LogitNormal()


@dataclass(frozen=True)
class Shifted(TimeDensity):
    """Shifted by alpha: t = α·t'/(1 + (α − 1)·t'), t' of another density, so logit t = logit t' + ln α.

    α > 1 moves times to the noise, as more pixels ask for: α = √(m/n) from n to m pixels. A shifted lognorm(m, s) is
    lognorm(m + ln α, s). Source: Esser et al. 2024 (SD3), eq. 23; the paper trains 1024² images with α = 3.

    Args:
        alpha: α, in [0.001, 1000].
        density: of t'.

    Raises:
        ValueError: alpha out of range.
    """

    alpha: float = 3.0
    density: TimeDensity = _LOGIT_NORMAL

    def __post_init__(self) -> None:
        if not 0.001 <= self.alpha <= 1000:
            raise ValueError(f"shifted takes an alpha in [0.001, 1000], got {self.alpha}")

    def quantile(self, u: Tensor) -> Tensor:
        t = self.density.quantile(u)
        return self.alpha * t / (1 - t + self.alpha * t)

    def _unshifted(self, t: Tensor) -> Tensor:
        return t / (t + self.alpha * (1 - t))

    def cdf(self, t: Tensor) -> Tensor:
        return self.density.cdf(self._unshifted(t))

    def pdf(self, t: Tensor) -> Tensor:
        return self.density.pdf(self._unshifted(t)) * self.alpha / (t + self.alpha * (1 - t)) ** 2

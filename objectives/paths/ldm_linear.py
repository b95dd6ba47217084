"""The variance-preserving path of latent diffusion's "linear" schedule."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.paths.variance_preserving import VariancePreserving

_NEWTON_STEPS = 8


@dataclass(frozen=True)
class LDMLinear(VariancePreserving):
    """LDM-linear: a² = ∏(1 − β_i), √β linear from √β_start to √β_end over `steps` steps; b² = 1 − a².

    In continuous time, r(t) = √β_start + t·(√β_end − √β_start), so that a(0) = 1:

        ln a²(t) = steps·∫₀ᵗ ln(1 − r(s)²) ds, in closed form with ∫ ln(1 − r²) dr = r·ln(1 − r²) − 2r + 2·artanh r.

    b grows like √t, so db/dt is infinite at t = 0. The ODE is therefore integrated in the angle τ = arctan(b/a), in
    which it is regular: dz/dτ = a·ε − b·x, the "v" of v-prediction. The path does not reach pure noise: a(1) = 0.068.
    Sampling starts there, uniform in t, with the noise in place of a(1)·x + b(1)·ε.
    Source: Rombach et al. 2022 (latent diffusion); Esser et al. 2024 (SD3), §3.

    Args:
        beta_start, beta_end: the first and the last β.
        steps: number of steps of the discrete schedule.

    Raises:
        ValueError: unless 0 < beta_start < beta_end < 1 and steps ≥ 1.
    """

    beta_start: float = 0.00085
    beta_end: float = 0.012
    steps: int = 1000

    def __post_init__(self) -> None:
        if not 0 < self.beta_start < self.beta_end < 1:
            raise ValueError(
                "ldm_linear takes 0 < beta_start < beta_end < 1, "
                f"got beta_start={self.beta_start}, beta_end={self.beta_end}"
            )
        if self.steps < 1:
            raise ValueError(f"ldm_linear takes at least 1 step, got {self.steps}")

    @property
    def _ends(self) -> tuple[float, float]:
        """(√β_start, √β_end − √β_start)."""
        first = self.beta_start**0.5
        return first, self.beta_end**0.5 - first

    def rate(self, t: Tensor) -> Tensor:
        """−steps·ln(1 − β(t))."""
        first, slope = self._ends
        return -self.steps * torch.log1p(-((first + slope * t.to(torch.float64)) ** 2))

    def depth(self, t: Tensor) -> Tensor:
        """The closed form's two ends are subtracted term by term, each without cancellation."""
        first, slope = self._ends
        moved = slope * t.to(torch.float64)
        last = first + moved
        logarithms = moved * torch.log1p(-(last**2)) + first * torch.log1p(-moved * (last + first) / (1 - first**2))
        return self.steps / slope * (2 * moved - logarithms - 2 * torch.atanh(moved / (1 - last * first)))

    def time(self, tau: Tensor) -> Tensor:
        """t where arctan(b/a) = τ: Newton's method from the solution for small β, where ln(1 − β) is −β."""
        first, slope = self._ends
        depth = -torch.log1p(-(torch.sin(tau.to(torch.float64)) ** 2))
        cube = 3 * slope * depth / self.steps
        last = (first**3 + cube) ** (1 / 3)
        t = (cube / (slope * (last**2 + last * first + first**2))).clamp(max=1)
        for _ in range(_NEWTON_STEPS):
            t = t - (self.depth(t) - depth) / self.rate(t)
        return t.to(tau.dtype)

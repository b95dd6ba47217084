"""The variance-exploding path of EDM."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from objectives.paths.base import Path


@dataclass(frozen=True)
class VarianceExploding(Path):
    """Variance exploding (EDM): z = x + σ·ε with σ = t/(1−t).

    In this time ln σ is logit t, so ln σ ~ N(m, s²) is t ~ LogitNormal(m, s). τ = σ and dz/dσ = ε. The grid is
    Karras': σ_i = (σ_max^(1/ρ) + i/(steps−1)·(σ_min^(1/ρ) − σ_max^(1/ρ)))^ρ, i = 0 … steps−1, then 0; the prior is
    σ_max·noise. Source: Karras et al. 2022 (EDM), eq. 5 and table 1.

    Args:
        sigma_min, sigma_max: the grid's last σ before 0 and its first; σ_max also bounds the noise drawn in training.
        rho: how much the grid leans to small σ.

    Raises:
        ValueError: unless 0 < sigma_min < sigma_max < 1e4 and rho ≥ 1.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    solvers: ClassVar[tuple[str, ...]] = (
        "heun", "euler", "ddim", "midpoint", "rk4", "dpmpp_2m", "dopri5", "euler_maruyama", "edm_stochastic",
    )  # fmt: skip

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < 1e4:
            raise ValueError(
                "variance_exploding takes 0 < sigma_min < sigma_max < 1e4, "
                f"got sigma_min={self.sigma_min}, sigma_max={self.sigma_max}"
            )
        if not 1 <= self.rho < math.inf:
            raise ValueError(f"variance_exploding takes a finite rho of at least 1, got {self.rho}")

    @property
    def t_max(self) -> float:
        return self.sigma_max / (1 + self.sigma_max)

    def a(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def b(self, t: Tensor) -> Tensor:
        return t / (1 - t)

    def da(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def db(self, t: Tensor) -> Tensor:
        return 1 / (1 - t) ** 2

    def log_snr(self, t: Tensor) -> Tensor:
        return 2 * (torch.log1p(-t) - torch.log(t))

    def clock(self, t: Tensor) -> Tensor:
        return self.b(t)

    def time(self, tau: Tensor) -> Tensor:
        return tau / (1 + tau)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(t), torch.ones_like(t)

    def grid(self, steps: int) -> Tensor:
        ramp = torch.linspace(0.0, 1.0, steps, dtype=torch.float64)
        first, last = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        sigma = (first + ramp * (last - first)) ** self.rho
        return torch.cat((self.time(sigma), sigma.new_zeros(1)))

    def prior(self, noise: Tensor) -> Tensor:
        return self.sigma_max * noise

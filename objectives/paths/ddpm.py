"""The variance-preserving path of a discrete schedule, met exactly at each of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from objectives.paths.variance_preserving import VariancePreserving


@dataclass(frozen=True)
class DDPM(VariancePreserving):
    """DDPM: a²(n/N) = ∏_{i≤n}(1 − β_i), n = 1 … N steps, and a²(0) = 1; ln a² is linear in t between the steps.

    β_1 … β_N rise evenly from beta_start to beta_end (`linear`: DDPM, DiT), or their roots do (`scaled_linear`: latent
    diffusion, U-ViT; `ldm_linear` is its limit in continuous time). What numbers its steps from 0, as DiT's and
    diffusers' code, calls n − 1 the time: t = (n + 1)/N for their n. The ODE is integrated in the angle
    τ = arctan(b/a). Sampling starts at t = 1, with the noise in place of a(1)·x + b(1)·ε.
    Source: Ho et al. 2020 (DDPM), eq. 4; Rombach et al. 2022 (latent diffusion).

    Args:
        schedule: "linear" or "scaled_linear".
        beta_start, beta_end: the first and the last β.
        steps: N.

    Raises:
        ValueError: unless 0 < beta_start ≤ beta_end < 1 and steps ≥ 1.
    """

    schedule: Literal["linear", "scaled_linear"] = "linear"
    beta_start: float = 0.0001
    beta_end: float = 0.02
    steps: int = 1000

    def __post_init__(self) -> None:
        if self.schedule not in ("linear", "scaled_linear"):
            raise ValueError(f"ddpm takes the schedule linear or scaled_linear, got {self.schedule!r}")
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise ValueError(
                f"ddpm takes 0 < beta_start <= beta_end < 1, got beta_start={self.beta_start}, beta_end={self.beta_end}"
            )
        if self.steps < 1:
            raise ValueError(f"ddpm takes at least 1 step, got {self.steps}")

    @cached_property
    def _depths(self) -> Tensor:
        """(N+1,) depth at n/N, n = 0 … N: float64, on the CPU."""
        power = 1.0 if self.schedule == "linear" else 0.5
        ends = self.beta_start**power, self.beta_end**power
        betas = torch.linspace(*ends, self.steps, dtype=torch.float64, device="cpu") ** (1 / power)
        return torch.cat((betas.new_zeros(1), -torch.log1p(-betas).cumsum(0)))

    def _around(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How far t is into its step, in [0, 1], and the depths at the step's ends."""
        depths = self._depths.to(t.device)
        place = self.steps * t.to(torch.float64)
        first = place.detach().floor().clamp(0, self.steps - 1)
        row = first.long()
        return place - first, depths[row], depths[row + 1]

    def depth(self, t: Tensor) -> Tensor:
        """−ln a², float64."""
        share, before, after = self._around(t)
        return before + share * (after - before)

    def rate(self, t: Tensor) -> Tensor:
        """N·(−ln(1 − β)) of the step that t is in."""
        _, before, after = self._around(t)
        return self.steps * (after - before)

    def time(self, tau: Tensor) -> Tensor:
        """t where arctan(b/a) = τ."""
        depths = self._depths.to(tau.device)
        depth = -torch.log1p(-(torch.sin(tau.to(torch.float64)) ** 2))
        row = (torch.searchsorted(depths, depth.detach().contiguous(), right=True) - 1).clamp(0, self.steps - 1)
        share = (depth - depths[row]) / (depths[row + 1] - depths[row])
        return ((row + share) / self.steps).to(tau.dtype)

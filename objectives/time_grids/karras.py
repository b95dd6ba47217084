"""EDM's grid on any path."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from objectives.base import Objective
from objectives.log_snr import time_of_log_snr
from objectives.paths import Path
from objectives.time_grids.base import TimeGrid


@dataclass(frozen=True)
class KarrasGrid(TimeGrid):
    """Karras: even in σ^(1/ρ), σ = b/a being the noise-to-signal ratio, then 0.

    σ_i = (σ₀^(1/ρ) + i/(N−1)·(σ_min^(1/ρ) − σ₀^(1/ρ)))^ρ, i = 1 … N−1; σ₀ is the ratio where the path starts, but at
    most sigma_max. ρ = 7 is EDM's and the variance-exploding path's own grid; a large ρ is even in the log-SNR.
    Source: Karras et al. 2022 (EDM), eq. 5.

    Args:
        rho: how much the grid leans to small σ.
        sigma_min: σ of the last time before 0.
        sigma_max: the σ that stands for the first time where the path starts at more.

    Raises:
        ValueError: unless 0 < sigma_min < sigma_max and rho ≥ 1; a path that starts below sigma_min.
    """

    rho: float = 7.0
    sigma_min: float = 0.002
    sigma_max: float = 80.0

    name: ClassVar[str] = "karras"

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise ValueError(
                f"karras takes 0 < sigma_min < sigma_max, got sigma_min={self.sigma_min}, sigma_max={self.sigma_max}"
            )
        if not 1 <= self.rho < math.inf:
            raise ValueError(f"karras takes a finite rho of at least 1, got {self.rho}")

    def check(self, objective: Objective) -> None:
        super().check(objective)
        if self._first(objective.path) <= self.sigma_min:
            raise ValueError(f"{objective.path} starts below the sigma_min {self.sigma_min} of karras")

    def _first(self, path: Path) -> float:
        log_snr = path.log_snr(torch.tensor(path.t_max, dtype=torch.float64))
        return min(float(torch.exp(-log_snr / 2)), self.sigma_max)

    def inner(self, path: Path, steps: int) -> Tensor:
        ramp = torch.linspace(0.0, 1.0, steps, dtype=torch.float64)[1:]
        first, last = self._first(path) ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        return time_of_log_snr(path, -2 * self.rho * torch.log(first + ramp * (last - first)))

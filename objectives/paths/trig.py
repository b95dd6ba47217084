"""The path of TrigFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.paths.base import Path


@dataclass(frozen=True)
class Trig(Path):
    """TrigFlow: z = cos(πt/2)·x + σ_data·sin(πt/2)·ε, of one variance throughout where x has standard deviation σ_data.

    Their angle is πt/2 and their noise z is σ_data·ε. The noise-to-signal ratio is σ = σ_data·tan(πt/2), so that the
    path is the variance-exploding one turned into an angle; it ends where σ is sigma_max. The grid is uniform from
    there, the prior σ_data·sin(πt_max/2)·noise. Source: Lu and Song 2024 (sCM), §3.

    Args:
        sigma_data: standard deviation that the data are taken to have.
        sigma_max: the largest σ.

    Raises:
        ValueError: unless both are positive and sigma_max is between σ_data and 10⁴·σ_data.
    """

    sigma_data: float = 0.5
    sigma_max: float = 80.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_data < math.inf:
            raise ValueError(f"trig takes a positive finite sigma_data, got {self.sigma_data}")
        if not 1 <= self.sigma_max / self.sigma_data <= 1e4:
            raise ValueError(
                f"trig takes a sigma_max of 1 to 10⁴ times sigma_data = {self.sigma_data}, got {self.sigma_max}"
            )

    @property
    def t_max(self) -> float:
        return 2 / math.pi * math.atan(self.sigma_max / self.sigma_data)

    def a(self, t: Tensor) -> Tensor:
        return torch.sin(0.5 * math.pi * (1 - t))  # cos(πt/2), to full precision near t = 1 too

    def b(self, t: Tensor) -> Tensor:
        return self.sigma_data * torch.sin(0.5 * math.pi * t)

    def da(self, t: Tensor) -> Tensor:
        return -0.5 * math.pi * torch.sin(0.5 * math.pi * t)

    def db(self, t: Tensor) -> Tensor:
        return 0.5 * math.pi * self.sigma_data * self.a(t)

    def log_snr(self, t: Tensor) -> Tensor:
        return 2 * (torch.log(self.a(t)) - torch.log(self.b(t)))

    def prior(self, noise: Tensor) -> Tensor:
        return self.sigma_data * math.sin(0.5 * math.pi * self.t_max) * noise

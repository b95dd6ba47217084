"""The variance-preserving path of the cosine schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.paths.base import Path


@dataclass(frozen=True)
class Cosine(Path):
    """Cosine: z = cos(πt/2)·x + sin(πt/2)·ε.

    λ = 2·ln cot(πt/2), dz/dt = (π/2)·(cos(πt/2)·ε − sin(πt/2)·x). At t = 1 nothing is left of the data, where a noise
    prediction says nothing of x: times end at `t_max`. The grid is uniform from there, the prior the noise.
    Source: Nichol and Dhariwal 2021; Esser et al. 2024 (SD3), §3.

    Args:
        t_max: the largest time, in [0.5, 1]. By default a(t_max) = 0.0079, about where DDPM's schedule ends.

    Raises:
        ValueError: t_max out of range.
    """

    t_max: float = 0.995  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]

    def __post_init__(self) -> None:
        if not 0.5 <= self.t_max <= 1:
            raise ValueError(f"cosine takes a t_max in [0.5, 1], got {self.t_max}")

    def a(self, t: Tensor) -> Tensor:
        return torch.sin(0.5 * math.pi * (1 - t))  # cos(πt/2), to full precision near t = 1 too

    def b(self, t: Tensor) -> Tensor:
        return torch.sin(0.5 * math.pi * t)

    def da(self, t: Tensor) -> Tensor:
        return -0.5 * math.pi * self.b(t)

    def db(self, t: Tensor) -> Tensor:
        return 0.5 * math.pi * self.a(t)

    def log_snr(self, t: Tensor) -> Tensor:
        return 2 * (torch.log(self.a(t)) - torch.log(self.b(t)))

"""The straight path of rectified flow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.paths.base import Path


@dataclass(frozen=True)
class Straight(Path):
    """Rectified flow: z = (1−t)·x + t·ε.

    a = 1−t, b = t, velocity ε − x, λ = −2·logit t. Grid uniform from 1, prior the noise.
    Source: Liu et al. 2022 (Rectified Flow); Esser et al. 2024 (SD3), §3.
    """

    def a(self, t: Tensor) -> Tensor:
        return 1 - t

    def b(self, t: Tensor) -> Tensor:
        return t

    def da(self, t: Tensor) -> Tensor:
        return -torch.ones_like(t)

    def db(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def log_snr(self, t: Tensor) -> Tensor:
        return 2 * (torch.log1p(-t) - torch.log(t))

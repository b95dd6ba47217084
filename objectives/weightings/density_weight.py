"""A density of times used as a weight."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.densities import LogitNormal, TimeDensity
from objectives.heads import Head
from objectives.paths import Path
from objectives.weightings.base import TimeWeighting

_LOGIT_NORMAL = LogitNormal()
_LARGEST = 1e6


@dataclass(frozen=True)
class DensityWeight(TimeWeighting):
    """A density as a weight: w = π(t) on the head's own error, while times are drawn from another density.

    On uniform times it is in expectation the loss whose times are drawn from π: SD3's w^π = t/(1 − t)·π(t) on ε̂'s
    error of rectified flow. It is here to show that, and to name what training scripts do that take π for a weight.
    Source: Esser et al. 2024 (SD3), eq. 18.

    Args:
        density: π.

    Raises:
        ValueError: a density that is infinite somewhere, or above 1e6.
    """

    density: TimeDensity = _LOGIT_NORMAL

    def __post_init__(self) -> None:
        levels = self.density.pdf(torch.linspace(0, 1, 4097, dtype=torch.float64, device="cpu"))
        if not float(levels.max()) < _LARGEST:
            raise ValueError(f"density_weight takes a density that is finite on [0, 1], got {self.density}")

    def weight(self, path: Path, head: Head, t: Tensor) -> Tensor:
        return self.density.pdf(t)

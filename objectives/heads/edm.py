"""EDM's preconditioned network output."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.heads.base import Head, rows
from objectives.paths import Path, VarianceExploding


@dataclass(frozen=True)
class EDMPreconditioned(Head):
    """EDM preconditioning: x̂ = c_skip·z + c_out·F(c_in·z, ¼·ln σ).

    With S = σ² + σ_data²: c_skip = σ_data²/S, c_out = σ·σ_data/√S, c_in = 1/√S. The regression target is
    F = (σ·x/σ_data − σ_data·ε)/√S, of unit variance where x has standard deviation σ_data; EDM's loss weight makes
    the weight on F one at every σ. Source: Karras et al. 2022 (EDM), table 1 and eq. 7 to 8.

    Args:
        sigma_data: standard deviation that the data are taken to have; SD3 keeps 0.5.

    Raises:
        ValueError: sigma_data not positive and finite; a path that is not variance exploding.
    """

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.sigma_data < math.inf:
            raise ValueError(f"edm takes a positive finite sigma_data, got {self.sigma_data}")

    def check(self, path: Path) -> None:
        if not isinstance(path, VarianceExploding):
            raise ValueError(f"the head edm needs the path variance_exploding, got {type(path).__name__}")

    def _norm(self, sigma: Tensor) -> Tensor:
        return torch.sqrt(sigma**2 + self.sigma_data**2)

    def scale(self, path: Path, t: Tensor) -> Tensor:
        return 1 / self._norm(path.b(t))

    def label(self, path: Path, t: Tensor) -> Tensor:
        return 0.25 * torch.log(path.b(t))

    def time(self, path: Path, label: Tensor) -> Tensor:
        return path.time(torch.exp(4 * label))

    def target(self, path: Path, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        sigma = path.b(t)
        norm = self._norm(sigma)
        return rows(sigma / (self.sigma_data * norm), x) * x - rows(self.sigma_data / norm, x) * noise

    def decode(self, path: Path, raw: Tensor, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        sigma = path.b(t)
        norm = self._norm(sigma)
        x = rows((self.sigma_data / norm) ** 2, z) * z + rows(sigma * self.sigma_data / norm, z) * raw
        noise = rows(sigma / norm**2, z) * z - rows(self.sigma_data / norm, z) * raw
        return x, noise

    def velocity(self, path: Path, raw: Tensor, z: Tensor, t: Tensor) -> Tensor:
        return self.decode(path, raw, z, t)[1]

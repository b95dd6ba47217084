"""TrigFlow's network output."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.heads.base import Head, rows
from objectives.paths import Path, Trig


@dataclass(frozen=True)
class TrigFlow(Head):
    """TrigFlow: x̂ = cos θ·z − sin θ·σ_data·F(z/σ_data, t) with θ = πt/2, on the path trig.

    F is the velocity dz/dθ of the data divided by σ_data: the regression target is cos θ·ε − sin θ·x/σ_data, of unit
    variance at every time where x has standard deviation σ_data. Source: Lu and Song 2024 (sCM), §3; their c_noise(t)
    is the angle, here the path time.

    Raises:
        ValueError: another path than trig.
    """

    def check(self, path: Path) -> None:
        if not isinstance(path, Trig):
            raise ValueError(f"the head trig needs the path trig, got {type(path).__name__}")

    def scale(self, path: Path, t: Tensor) -> Tensor:
        return torch.full_like(t, 1 / _sigma(path))

    def target(self, path: Path, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        sine = torch.sin(0.5 * math.pi * t)
        return rows(path.a(t), x) * noise - rows(sine / _sigma(path), x) * x

    def decode(self, path: Path, raw: Tensor, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        cosine, sine = path.a(t), torch.sin(0.5 * math.pi * t)
        x = rows(cosine, z) * z - rows(path.b(t), z) * raw
        return x, rows(sine / _sigma(path), z) * z + rows(cosine, z) * raw


def _sigma(path: Path) -> float:
    assert isinstance(path, Trig)  # else `check` refuses
    return path.sigma_data

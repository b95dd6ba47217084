"""The velocity head of flow matching."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from objectives.heads.base import Head, rows
from objectives.paths import Path


@dataclass(frozen=True)
class Velocity(Head):
    """Velocity: the raw output is dz/dτ, ε − x on the straight path.

    With α = da/dτ, β = db/dτ: v = α·x + β·ε, so x̂ = (β·z − b·v)/(aβ − bα) and ε̂ = (a·v − α·z)/(aβ − bα).
    Source: Lipman et al. 2023 (Flow Matching); Esser et al. 2024 (SD3), eq. 13.
    """

    def target(self, path: Path, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        da, db = path.rates(t)
        return rows(da, x) * x + rows(db, x) * noise

    def decode(self, path: Path, raw: Tensor, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        a, b, (da, db) = path.a(t), path.b(t), path.rates(t)
        determinant = a * db - b * da
        x = rows(db / determinant, z) * z - rows(b / determinant, z) * raw
        noise = rows(a / determinant, z) * raw - rows(da / determinant, z) * z
        return x, noise

    def velocity(self, path: Path, raw: Tensor, z: Tensor, t: Tensor) -> Tensor:
        return raw

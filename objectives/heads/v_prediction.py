"""The v-prediction head."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from objectives.heads.base import Head, rows
from objectives.paths import Path


@dataclass(frozen=True)
class VPrediction(Head):
    """v-prediction: the raw output is v = a·ε − b·x, so x̂ = (a·z − b·v)/(a² + b²), ε̂ = (b·z + a·v)/(a² + b²).

    On a variance-preserving path a² + b² = 1; on any other the same v is regular everywhere too.
    Source: Salimans and Ho 2022 (progressive distillation), appendix D; Esser et al. 2024 (SD3), §3.
    """

    def target(self, path: Path, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        return rows(path.a(t), x) * noise - rows(path.b(t), x) * x

    def decode(self, path: Path, raw: Tensor, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        a, b = path.a(t), path.b(t)
        total = a**2 + b**2
        x = rows(a / total, z) * z - rows(b / total, z) * raw
        noise = rows(b / total, z) * z + rows(a / total, z) * raw
        return x, noise

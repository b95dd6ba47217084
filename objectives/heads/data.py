"""The data-prediction head."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from objectives.heads.base import Head, rows
from objectives.paths import Path


@dataclass(frozen=True)
class Data(Head):
    """Data prediction: the raw output is x̂, so ε̂ = (z − a·x̂)/b for t > 0.

    Source: Ho et al. 2020 (DDPM), §3.2; Karras et al. 2022 (EDM), eq. 2 (the denoiser).
    """

    def target(self, path: Path, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        return x

    def decode(self, path: Path, raw: Tensor, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return raw, (z - rows(path.a(t), z) * raw) / rows(path.b(t), z)

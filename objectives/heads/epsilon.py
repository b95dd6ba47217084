"""The noise-prediction head of DDPM."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.heads.base import Head, rows
from objectives.paths import Path

_SMALLEST_A = 1e-4


@dataclass(frozen=True)
class Epsilon(Head):
    """Noise prediction: the raw output is ε̂, so x̂ = (z − b·ε̂)/a.

    It says nothing of x where a = 0, so a path has to end before: cosine at its `t_max`, LDM-linear at a = 0.068.
    Source: Ho et al. 2020 (DDPM), eq. 14; Esser et al. 2024 (SD3), §2.

    Raises:
        ValueError: a path with a(t_max) below 1e-4, as the straight one.
    """

    def check(self, path: Path) -> None:
        left = float(path.a(torch.tensor([path.t_max], dtype=torch.float64, device="cpu")))
        if left < _SMALLEST_A:
            raise ValueError(
                f"the head epsilon needs a path on which some of the data is left at the end: {path} has "
                f"a = {left:.1e} at its last time {path.t_max:g}, at least {_SMALLEST_A} is needed"
            )

    def target(self, path: Path, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        return noise

    def decode(self, path: Path, raw: Tensor, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return (z - rows(path.b(t), z) * raw) / rows(path.a(t), z), raw

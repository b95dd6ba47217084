"""The independent coupling."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from objectives.condition import Condition
from objectives.couplings.base import Coupling


@dataclass(frozen=True)
class Independent(Coupling):
    """Independent: each sample with the noise drawn for it, as in flow matching and diffusion."""

    def couple(self, noise: Tensor, x: Tensor, condition: Condition) -> Tensor:
        return noise

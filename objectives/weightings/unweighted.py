"""No weighting."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.heads import Head
from objectives.paths import Path
from objectives.weightings.base import TimeWeighting


@dataclass(frozen=True)
class Unweighted(TimeWeighting):
    """Unweighted: w = 1 on the head's own error, as SD3 trains every formulation."""

    def weight(self, path: Path, head: Head, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def weigh(self, error: Tensor, path: Path, head: Head, t: Tensor) -> Tensor:
        return error

"""Times at equal distances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from objectives.paths import Path
from objectives.time_grids.base import TimeGrid


@dataclass(frozen=True)
class UniformGrid(TimeGrid):
    """Uniform: t_i = (1 − i/N)·t_max, i = 0 … N."""

    name: ClassVar[str] = "uniform"

    def inner(self, path: Path, steps: int) -> Tensor:
        return torch.linspace(path.t_max, 0.0, steps + 1, dtype=torch.float64)[1:-1]

"""Times as dense as in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from objectives.base import Objective
from objectives.densities import LogitNormal, TimeDensity
from objectives.paths import Path
from objectives.time_grids.base import TimeGrid

_LOGNORM = LogitNormal()


@dataclass(frozen=True)
class QuantileGrid(TimeGrid):
    """Quantiles: as many times where a density has as much mass, t_i = quantile((1 − i/N)·cdf(t_max)).

    Args:
        density: of the times.

    Raises:
        ValueError: a density with no mass below the path's t_max.
    """

    density: TimeDensity = _LOGNORM

    name: ClassVar[str] = "quantiles"

    def check(self, objective: Objective) -> None:
        super().check(objective)
        if self._mass(objective.path) <= 0:
            raise ValueError(f"{self.density} has no mass where {objective.path} has times")

    def _mass(self, path: Path) -> float:
        return float(self.density.cdf(torch.tensor(path.t_max, dtype=torch.float64)))

    def inner(self, path: Path, steps: int) -> Tensor:
        shares = torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64)[1:-1]
        return self.density.quantile(self._mass(path) * shares)

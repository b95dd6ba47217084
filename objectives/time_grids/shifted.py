"""SD3's shifted times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from objectives.base import Objective
from objectives.log_snr import time_of_log_snr
from objectives.paths import Path
from objectives.time_grids.base import TimeGrid


@dataclass(frozen=True)
class ShiftedGrid(TimeGrid):
    """Shifted: uniform times whose log-SNR is lowered by 2·ln α, for more steps near the noise.

    On the straight path t' = αt/(1 + (α−1)t). α = √(m/n) carries times that suit n pixels over to m.
    Source: Esser et al. 2024 (SD3), eq. 23.

    Args:
        alpha: SD3 takes 3 at 1024² pixels; 1 is uniform, less than 1 leans to the data.

    Raises:
        ValueError: alpha not positive and finite; a path that does not start at pure noise, where shifted times
            would lie beyond its end.
    """

    alpha: float = 3.0

    name: ClassVar[str] = "shifted"

    def __post_init__(self) -> None:
        if not 0 < self.alpha < math.inf:
            raise ValueError(f"shifted takes a positive finite alpha, got {self.alpha}")

    def check(self, objective: Objective) -> None:
        super().check(objective)
        path = objective.path
        a = float(path.a(torch.tensor(path.t_max, dtype=torch.float64)))
        if a > 1e-12:
            raise ValueError(f"shifted needs a path that starts at pure noise; {path} starts where a = {a:g}")

    def inner(self, path: Path, steps: int) -> Tensor:
        uniform = torch.linspace(path.t_max, 0.0, steps + 1, dtype=torch.float64)[1:-1]
        return time_of_log_snr(path, path.log_snr(uniform) - 2 * math.log(self.alpha))

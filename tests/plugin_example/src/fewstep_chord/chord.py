"""A path of constant variance on which the data fade linearly."""

from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.paths import Path


@dataclass(frozen=True)
class Chord(Path):
    """Chord: z = (1−t)·x + √(t(2−t))·ε.

    db/dt is infinite at the data, so the ODE is integrated in the angle τ = arccos(1−t), in which z = cos τ·x + sin τ·ε
    and dz/dτ = cos τ·ε − sin τ·x. The grid is uniform in τ.
    """

    def a(self, t: Tensor) -> Tensor:
        return 1 - t

    def b(self, t: Tensor) -> Tensor:
        return torch.sqrt(t * (2 - t))

    def da(self, t: Tensor) -> Tensor:
        return -torch.ones_like(t)

    def db(self, t: Tensor) -> Tensor:
        return (1 - t) / self.b(t)

    def log_snr(self, t: Tensor) -> Tensor:
        return 2 * torch.log1p(-t) - torch.log(t) - torch.log(2 - t)

    def clock(self, t: Tensor) -> Tensor:
        return torch.atan2(self.b(t), self.a(t))

    def time(self, tau: Tensor) -> Tensor:
        return 2 * torch.sin(tau / 2) ** 2  # 1 − cos τ, without cancellation near the data

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return -self.b(t), self.a(t)

    def grid(self, steps: int) -> Tensor:
        times = self.time(torch.linspace(0.5 * torch.pi, 0, steps + 1, dtype=torch.float64))
        return torch.cat((times.new_ones(1), times[1:]))

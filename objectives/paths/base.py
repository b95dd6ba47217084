"""What a path is: z_t = a(t)·x + b(t)·ε, t = 0 at the data, t = 1 at the noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor


class Path(ABC):
    """z_t = a(t)·x + b(t)·ε with a(0) = 1, b(0) = 0.

    Coefficients map (B,) path times to (B,), in the dtype of t. The ODE of a path is integrated in τ = clock(t);
    unless a path says otherwise τ is t itself.
    """

    version: ClassVar[int] = 1
    solvers: ClassVar[tuple[str, ...]] = (
        "euler", "ddim", "heun", "midpoint", "rk4", "dpmpp_2m", "dopri5", "euler_maruyama",
    )  # fmt: skip
    """Names of the solvers that integrate this path; the first is the default."""

    @property
    def t_max(self) -> float:
        """The largest time that densities draw and grids visit."""
        return 1.0

    @abstractmethod
    def a(self, t: Tensor) -> Tensor:
        """The data's coefficient."""

    @abstractmethod
    def b(self, t: Tensor) -> Tensor:
        """The noise's coefficient."""

    @abstractmethod
    def da(self, t: Tensor) -> Tensor:
        """da/dt."""

    @abstractmethod
    def db(self, t: Tensor) -> Tensor:
        """db/dt."""

    @abstractmethod
    def log_snr(self, t: Tensor) -> Tensor:
        """λ(t) = ln a²/b², falling from +∞ at t = 0."""

    def clock(self, t: Tensor) -> Tensor:
        """τ, rising in t, 0 at t = 0: the variable in which the path's ODE is integrated."""
        return t

    def time(self, tau: Tensor) -> Tensor:
        """t, the clock's inverse."""
        return tau

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(da/dτ, db/dτ): what velocity = dz/dτ is made of."""
        return self.da(t), self.db(t)

    def grid(self, steps: int) -> Tensor:
        """(steps+1,) float64 path times, descending from t_max to 0: uniform in t unless a path says otherwise."""
        return torch.linspace(self.t_max, 0.0, steps + 1, dtype=torch.float64)

    def prior(self, noise: Tensor) -> Tensor:
        """z at the first time of the grid, from standard normal noise."""
        return noise

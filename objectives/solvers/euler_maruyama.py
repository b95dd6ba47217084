"""Euler and Maruyama's method for the reverse SDE."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from objectives.base import Network, Objective
from objectives.condition import Condition
from objectives.draws import AnyDraws
from objectives.heads.base import rows
from objectives.paths import Path
from objectives.solvers.base import OnStep, Solver, report, walk

DIFFUSIONS = ("sigma", "sine", "sde")


@dataclass(frozen=True)
class EulerMaruyama(Solver):
    """Euler–Maruyama: the reverse SDE with a diffusion of one's choice, first weak order.

    Every SDE dz = (v + w·ε̂/b)·dτ + √(2w)·dW̄, run from noise to data, has the marginals of the ODE dz/dτ = v; the score
    is −ε̂/b. A step is z' = z + Δτ·(v + w·ε̂/b) + √(2w·|Δτ|)·ξ; the one onto t = 0 is Euler's of the ODE. One evaluation
    a step. Source: Ma et al. 2024 (SiT); Song et al. 2021 (score SDEs).

    Args:
        diffusion: w: "sigma", b(t); "sine", sin²(πt); "sde", b·(db/dτ − b·(da/dτ)/a), half the squared diffusion of
            the SDE that carries data to noise along the path, infinite where a = 0.
        scale: a factor on w; 0 is the ODE.

    Raises:
        ValueError: an unknown diffusion, a scale that is negative or not finite; a diffusion that is infinite on the
            path; no draws.
    """

    diffusion: Literal["sigma", "sine", "sde"] = "sigma"
    scale: float = 1.0

    name: ClassVar[str] = "euler_maruyama"
    deterministic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.diffusion not in DIFFUSIONS:
            raise ValueError(f"euler_maruyama's diffusion is one of {', '.join(DIFFUSIONS)}; got {self.diffusion!r}")
        if not 0 <= self.scale < math.inf:
            raise ValueError(f"euler_maruyama takes a finite scale of at least 0, got {self.scale}")

    def check(self, objective: Objective) -> None:
        super().check(objective)
        first = torch.tensor(objective.path.t_max, dtype=torch.float64)
        if not bool(self.strength(objective.path, first).isfinite()):
            raise ValueError(
                f"the diffusion {self.diffusion!r} of euler_maruyama is infinite at t = {float(first):g}, where "
                f"{objective.path} starts; allowed there: {', '.join(name for name in DIFFUSIONS if name != 'sde')}"
            )

    def strength(self, path: Path, t: Tensor) -> Tensor:
        """w(t), per unit of τ."""
        if self.diffusion == "sigma":
            return self.scale * path.b(t)
        if self.diffusion == "sine":
            return self.scale * torch.sin(math.pi * t) ** 2
        a, b, (da, db) = path.a(t), path.b(t), path.rates(t)
        return self.scale * b * (db - b * da / a)

    def solve(
        self,
        objective: Objective,
        network: Network,
        z: Tensor,
        times: Tensor,
        condition: Condition,
        *,
        draws: AnyDraws | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        if draws is None:
            raise ValueError("euler_maruyama needs draws for the noise that it adds")
        path = objective.path
        for step in walk(objective, z, times):
            x, noise = objective.predict(network, z, step.t, condition, step.length)
            da, db = path.rates(step.t)
            drift = rows(da, z) * x + rows(db, z) * noise
            if step.end > 0:
                w = self.strength(path, step.t)
                fresh = draws.normal(f"diffusion{step.number}", z.shape, z.dtype)
                drift = drift + rows(w / path.b(step.t), z) * noise
                z = z + rows(torch.sqrt(2 * w * abs(step.change)), z) * fresh
            z = report(on_step, step, z + step.change * drift)
        return z

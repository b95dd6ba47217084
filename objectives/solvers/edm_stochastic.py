"""EDM's stochastic sampler."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from objectives.base import Network, Objective
from objectives.condition import Condition
from objectives.draws import AnyDraws
from objectives.paths import VarianceExploding
from objectives.solvers.base import OnStep, Solver, report, walk


@dataclass(frozen=True)
class EDMStochastic(Solver):
    """EDM's stochastic Heun: before each step noise is added, σ̂ = (1+γ)·σ, then a step of Heun goes from σ̂ to σ'.

    γ = min(churn/N, √2 − 1) where s_min ≤ σ ≤ s_max, else 0; the noise added has standard deviation
    s_noise·√(σ̂² − σ²). The step onto σ = 0 is Euler's: 2N − 1 evaluations. The defaults are the paper's for
    ImageNet-64. Source: Karras et al. 2022 (EDM), algorithm 2 and table 5.

    Raises:
        ValueError: unless churn ≥ 0, 0 ≤ s_min ≤ s_max and s_noise > 0; another path than the variance-exploding
            one; no draws.
    """

    churn: float = 40.0
    s_min: float = 0.05
    s_max: float = 50.0
    s_noise: float = 1.003

    name: ClassVar[str] = "edm_stochastic"
    deterministic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not (0 <= self.churn < math.inf and 0 <= self.s_min <= self.s_max and 0 < self.s_noise < math.inf):
            raise ValueError(f"edm_stochastic takes churn ≥ 0, 0 ≤ s_min ≤ s_max and s_noise > 0, got {self}")

    def check(self, objective: Objective) -> None:
        super().check(objective)
        if not isinstance(objective.path, VarianceExploding):
            raise ValueError(f"edm_stochastic needs the path variance_exploding, got {objective.path}")

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
            raise ValueError("edm_stochastic needs draws for the noise that it adds")
        path = objective.path
        largest = min(self.churn / (len(times) - 1), math.sqrt(2) - 1)
        for step in walk(objective, z, times):
            gamma = largest if self.s_min <= step.tau <= self.s_max else 0.0
            raised = step.tau * (1 + gamma)
            if gamma > 0:
                noise = draws.normal(f"churn{step.number}", z.shape, z.dtype)
                z = z + self.s_noise * math.sqrt(raised**2 - step.tau**2) * noise
            change = step.change + step.tau - raised
            slope = objective.velocity(network, z, path.time(torch.full_like(step.t, raised)), condition)
            ahead = z + change * slope
            if step.end > 0:
                slope = (slope + objective.velocity(network, ahead, step.next_t, condition)) / 2
                ahead = z + change * slope
            z = report(on_step, step, ahead)
        return z

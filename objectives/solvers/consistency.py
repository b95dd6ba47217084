"""Multistep consistency sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from objectives.base import Network, Objective
from objectives.condition import Condition
from objectives.draws import AnyDraws
from objectives.heads.base import rows
from objectives.solvers.base import OnStep, Solver, report, walk


@dataclass(frozen=True)
class Consistency(Solver):
    """Multistep consistency sampling: straight to the data, then back with fresh noise, z' = a(t')·x̂ + b(t')·ε.

    For networks whose x̂ is where the flow ends. One evaluation a step; the last step, onto t = 0, adds no noise.
    Source: Song et al. 2023 (consistency models), algorithm 1. Their noise has the variance σ'² − σ_min², since their
    x̂ is at σ_min; with σ_min = 0.002 the difference is below rounding in float16.

    Raises:
        ValueError: no draws where there is more than one step.
    """

    name: ClassVar[str] = "consistency"
    deterministic: ClassVar[bool] = False

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
        path = objective.path
        for step in walk(objective, z, times):
            x, _ = objective.predict(network, z, step.t, condition, step.length)
            if step.end > 0:
                if draws is None:
                    raise ValueError("consistency needs draws for the noise between its steps")
                noise = draws.normal(f"renoise{step.number}", z.shape, z.dtype)
                x = rows(path.a(step.next_t), z) * x + rows(path.b(step.next_t), z) * noise
            z = report(on_step, step, x)
        return z

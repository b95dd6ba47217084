"""The midpoint method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from objectives.base import Network, Objective
from objectives.condition import Condition
from objectives.draws import AnyDraws
from objectives.solvers.base import OnStep, Solver, report, walk


@dataclass(frozen=True)
class Midpoint(Solver):
    """Midpoint: half a step of Euler's, then a whole step with the slope found there. Second order.

    k = v(z + Δτ/2·v(z, τ), τ + Δτ/2), z' = z + Δτ·k. The step onto t = 0 is Euler's: 2N − 1 evaluations.
    Source: Runge 1895; Hairer, Nørsett and Wanner 1993, II.1.
    """

    name: ClassVar[str] = "midpoint"

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
        for step in walk(objective, z, times):
            slope = objective.velocity(network, z, step.t, condition, step.length)
            if step.end > 0:
                middle = step.inside(objective.path, 0.5)
                slope = objective.velocity(network, z + step.change / 2 * slope, middle, condition, step.length)
            z = report(on_step, step, z + step.change * slope)
        return z

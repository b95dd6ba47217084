"""The classical Runge–Kutta method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from objectives.base import Network, Objective
from objectives.condition import Condition
from objectives.draws import AnyDraws
from objectives.solvers.base import OnStep, Solver, report, walk


@dataclass(frozen=True)
class RK4(Solver):
    """RK4: the classical Runge–Kutta method, fourth order.

    With h = Δτ: k₁ = v(z, τ), k₂ = v(z + h/2·k₁, τ + h/2), k₃ = v(z + h/2·k₂, τ + h/2), k₄ = v(z + h·k₃, τ + h),
    z' = z + h/6·(k₁ + 2k₂ + 2k₃ + k₄). The step onto t = 0 is Euler's: 4N − 3 evaluations.
    Source: Kutta 1901; Hairer, Nørsett and Wanner 1993, II.1.
    """

    name: ClassVar[str] = "rk4"

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

            def slope(z: Tensor, t: Tensor, length: Tensor | None = step.length) -> Tensor:
                return objective.velocity(network, z, t, condition, length)

            h, k1 = step.change, slope(z, step.t)
            if step.end > 0:
                middle = step.inside(objective.path, 0.5)
                k2 = slope(z + h / 2 * k1, middle)
                k3 = slope(z + h / 2 * k2, middle)
                k4 = slope(z + h * k3, step.next_t)
                z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            else:
                z = z + h * k1
            z = report(on_step, step, z)
        return z

"""Ralston's method."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from objectives import Network, Objective
from objectives.condition import Condition
from objectives.draws import AnyDraws
from objectives.solvers import Solver
from objectives.solvers.base import OnStep, report, walk


@dataclass(frozen=True)
class Ralston(Solver):
    """Ralston: a quarter of the slope at the start and three quarters of that at two thirds of a step. Second order.

    Two evaluations a step, the one onto t = 0 included: it looks at two thirds, never at its end.
    Source: Ralston 1962.
    """

    name: ClassVar[str] = "ralston"

    def check(self, objective: Objective) -> None:
        # No objective names this solver, so it says itself what it serves.
        if objective.needs.step:
            raise ValueError(f"ralston needs the velocity at a time, and {objective.notation} gives that over a step")

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
            first = objective.velocity(network, z, step.t, condition)
            later = step.inside(objective.path, 2 / 3)
            second = objective.velocity(network, z + 2 / 3 * step.change * first, later, condition)
            z = report(on_step, step, z + step.change * (first + 3 * second) / 4)
        return z

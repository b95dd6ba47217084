"""Heun's method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from objectives.base import Network, Objective
from objectives.condition import Condition
from objectives.draws import AnyDraws
from objectives.solvers.base import OnStep, Solver, report, walk


@dataclass(frozen=True)
class Heun(Solver):
    """Heun: Euler's step, then the mean of the slopes at its two ends. Second order.

    The step onto t = 0 is Euler's, so a grid of N steps costs 2N − 1 evaluations. On the variance-exploding path this
    is the deterministic sampler of Karras et al. 2022 (EDM), algorithm 1.
    """

    name: ClassVar[str] = "heun"

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
            ahead = z + step.change * slope
            if step.end > 0:
                slope = (slope + objective.velocity(network, ahead, step.next_t, condition, step.length)) / 2
                ahead = z + step.change * slope
            z = report(on_step, step, ahead)
        return z

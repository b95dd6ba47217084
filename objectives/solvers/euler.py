"""Euler's method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from objectives.base import Network, Objective
from objectives.condition import Condition
from objectives.draws import AnyDraws
from objectives.solvers.base import OnStep, Solver, report, walk


@dataclass(frozen=True)
class Euler(Solver):
    """Euler: z' = z + (τ' − τ)·dz/dτ. First order, one evaluation a step; exact in a step for shortcut models."""

    name: ClassVar[str] = "euler"

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
            z = z + step.change * objective.velocity(network, z, step.t, condition, step.length)
            z = report(on_step, step, z)
        return z

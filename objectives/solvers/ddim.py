"""DDIM's deterministic step."""

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
class DDIM(Solver):
    """DDIM: z' = a(t')·x̂ + b(t')·ε̂, the prediction mixed anew at the next time.

    First order on every path; equal to Euler on the straight and the variance-exploding path. One evaluation a step.
    Source: Song et al. 2021 (DDIM), eq. 12 with η = 0.
    """

    name: ClassVar[str] = "ddim"

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
            x, noise = objective.predict(network, z, step.t, condition, step.length)
            z = rows(path.a(step.next_t), z) * x + rows(path.b(step.next_t), z) * noise
            z = report(on_step, step, z)
        return z

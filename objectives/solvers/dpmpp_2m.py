"""DPM-Solver++ with two steps of memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from objectives.base import Network, Objective
from objectives.condition import Condition
from objectives.draws import AnyDraws
from objectives.heads.base import rows
from objectives.solvers.base import OnStep, Solver, report, walk


@dataclass(frozen=True)
class DPMPP2M(Solver):
    """DPM-Solver++(2M): a multistep method in the log-SNR, second order with one evaluation a step.

    With h = ½·(λ' − λ) and h₋ that of the step before, D = x̂ + h/(2h₋)·(x̂ − x̂₋), z' = (b'/b)·z + a'·(1 − e^−h)·D.
    Where h or h₋ is infinite (from pure noise, onto the data) and in the first step D = x̂, which is DDIM's step.
    Its order is on grids that are even in λ. Source: Lu et al. 2022 (DPM-Solver++), algorithm 2.
    """

    name: ClassVar[str] = "dpmpp_2m"

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
        path, before = objective.path, None
        log_snr = path.log_snr(times).tolist()
        for step in walk(objective, z, times):
            x, _ = objective.predict(network, z, step.t, condition, step.length)
            change = log_snr[step.number + 1] - log_snr[step.number]
            mixed = x
            if before is not None and math.isfinite(change) and math.isfinite(before[1]):
                mixed = x + change / (2 * before[1]) * (x - before[0])
            ratio = path.b(step.next_t) / path.b(step.t)
            moved = rows(ratio, z) * z + rows(path.a(step.next_t) - ratio * path.a(step.t), z) * mixed
            before = x, change
            z = report(on_step, step, moved)
        return z

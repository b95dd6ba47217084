"""Consistency distillation: a network that tells where a trained flow ends, learned from its steps."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from objectives.base import Loss, Network, count_steps
from objectives.condition import Condition
from objectives.distillation import check_flow, check_guidance, guided, needed, starts
from objectives.draws import AnyDraws
from objectives.flow_matching import FlowMatching, mean_square, working_dtype
from objectives.heads.base import rows
from objectives.over_flow import OverFlow

_RF = FlowMatching()
_LARGEST_M = 2**16


class ConsistencyDistillation(OverFlow):
    """Consistency distillation: v(z, t) = (z − x̂)/t with x̂ where the teacher's flow ends, the same a step later.

        E ‖v(z, t) − (z − f⁻(z', t − d))/t‖², z' = z − d·v_teacher(z, t), f⁻(z, t) = z − t·v⁻(z, t),

    d = 1/M, t = d, 2d, … 1: one Euler step of the teacher, a flow-matching network trained before, then the jump to the
    data of the student's own average, v⁻. f⁻ at t = 0 is z' itself, the boundary condition. (The distance in data,
    ‖f − f⁻‖², would weigh it by t².) A training step costs 5 passes, 3 being the one with a gradient, 6 with guidance.
    Sampled by noise being added between steps (the solver ``consistency``), at multiples of d from 1.
    Source: Song et al. 2023 (consistency models), algorithm 2; Frans et al. 2025 (shortcut models), §5, on the straight
    path, whose t is 1 − t.

    Where this departs from the first paper: straight path, velocities, Euler's step and equal weights, as in the
    second; the grid is uniform. From the second one's public code: nothing is clipped; times come from the flow's
    density, rounded up to multiples of d; with guidance the teacher is asked once, for both parts in one batch.

    Its velocity is the mean of the flow's from t to 0.

    Args:
        flow: path (straight) and head of teacher and student, and the density of the times.
        M: number of the teacher's steps, 2 to 2¹⁶.
        guidance: w of the teacher, which the student then has without being asked twice.
        target: whose jump to the data is the target, "ema" (the student's average) or "online" (itself, without a
            gradient).

    Raises:
        ValueError: an argument out of range; a flow on another path, or weighted.
    """

    solvers: tuple[str, ...] = ("consistency",)
    version: ClassVar[int] = 1

    def __init__(
        self,
        flow: FlowMatching = _RF,
        M: int = 128,
        guidance: float = 1.0,
        target: Literal["ema", "online"] = "ema",
    ) -> None:
        super().__init__()
        check_flow("consistency_distillation", flow)
        if not 2 <= M <= _LARGEST_M:
            raise ValueError(f"consistency_distillation takes 2 to {_LARGEST_M} steps as M, got {M}")
        check_guidance("consistency_distillation", guidance)
        if target not in ("ema", "online"):
            raise ValueError(f"consistency_distillation's target is one of ema, online; got {target!r}")
        self.flow, self.M, self.guidance, self.target = flow, M, guidance, target
        self.path = flow.path
        self.needs = replace(flow.needs, teacher="frozen", average=target == "ema", condition=guidance != 1)

    @property
    def batch_multiple(self) -> int:
        return self.flow.batch_multiple

    @property
    def notation(self) -> str:
        name = "consistency_distillation"
        return name if self.flow.notation == "rf" else f"{name}/{self.flow.notation}"

    @torch.no_grad()
    def goal(self, teacher: Network, student: Network, z: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """(B, …) (z − f⁻(z', t − d))/t: the mean velocity from t to 0 by the teacher's step and the student's jump.

        Args:
            teacher: asked at t, with guidance.
            student: asked at t − d.
            z: (B, …) on the path at times t.
            t: (B,) multiples of d = 1/M, from d to 1.

        Raises:
            ValueError: guidance other than 1 without a condition.
        """
        flow, d = self.flow, 1 / self.M
        moved = z - d * flow.velocity(guided(flow, teacher, self.guidance, condition), z, t, condition)
        earlier = (t - d).clamp(min=0)
        end, _ = flow.predict(student, moved, earlier, condition)
        end = torch.where(rows(earlier, z) < d / 2, moved, end)
        return (z - end) / rows(t, z)

    def loss(
        self,
        network: Network,
        x: Tensor,
        condition: Condition,
        draws: AnyDraws,
        *,
        teacher: Network | None = None,
        average: Network | None = None,
        progress: float = 0.0,
    ) -> Loss:
        flow = self.flow
        teacher = needed("consistency_distillation", "teacher", teacher)
        student = network if self.target == "online" else needed("consistency_distillation", "average", average)
        noise = flow.noise(x, condition, draws)
        t = starts(flow, draws.uniform("time", x.shape[:1], working_dtype(x)), self.M)
        condition = flow.dropped(condition, draws, len(x))
        z = flow.mix(x, noise, t)
        # Before the passes without a gradient, so that autocast caches no weight without one.
        raw = flow.raw(network, z, t, condition, dtype=x.dtype)
        goal = self.goal(teacher, student, z, t, condition)
        error = mean_square(flow.head.velocity(flow.path, raw, z, t) - goal)
        return Loss(error, {"loss_distillation": error.detach().mean()}, times=t)

    def time_grid(self, steps: int) -> Tensor:
        """Any number of steps from 1 to M: times as even as multiples of 1/M can be."""
        count = count_steps(steps, self.M)
        nearest = [(2 * i * self.M + count) // (2 * count) for i in range(count, -1, -1)]
        return torch.tensor(nearest, dtype=torch.float64) / self.M

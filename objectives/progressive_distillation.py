"""Progressive distillation: a teacher's two steps in one of the student's, who then becomes the teacher."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from objectives.base import Loss, Network
from objectives.condition import Condition
from objectives.distillation import check_flow, check_guidance, guided, needed, starts
from objectives.draws import AnyDraws
from objectives.flow_matching import FlowMatching, mean_square, working_dtype
from objectives.heads.base import rows
from objectives.over_flow import OverFlow
from objectives.phases import phase_of
from objectives.shortcut_grid import binary_times

_RF = FlowMatching()
_LARGEST_M = 2**16


class ProgressiveDistillation(OverFlow):
    """Progressive distillation: in phase p the student's step of d = 2^(p+1)/M is the teacher's two of d/2.

        E ‖v(z, t) − (u₁ + u₂)/2‖², u₁ = v_teacher(z, t), u₂ = v_teacher(z − d/2·u₁, t − d/2), t = d, 2d, … 1.

    The training has log2 M equal phases. The first teacher is a flow-matching network trained before, that of each
    later phase the student as it was when the phase began: it ends with a student of one step. A training step costs 5
    passes, 3 being the one with a gradient, 7 while there is guidance. Sampled by Euler steps of the lengths of a
    shortcut model: those of a phase are one length, which the student of that phase knows, and what it does at others
    is the method's own limit (the shortcut paper's values in brackets), since the network is told the time alone.
    Source: Salimans and Ho 2022 (progressive distillation), algorithm 2; Frans et al. 2025 (shortcut models), §5,
    whose t is 1 − t.

    Where this departs from the first paper: the straight path and velocities of equal weight, as in the second. From
    the second one's public code: nothing is clipped; times come from the flow's density, rounded up to multiples of d;
    phases divide the training evenly whatever its length is; guidance is one batched call.

    Its velocity is the mean over a step of the length that the student was last trained for.

    Args:
        flow: path (straight) and head of teacher and student, and the density of the times.
        M: number of steps of the first teacher, a power of two, 2 to 2¹⁶.
        guidance: w of the first phase's teacher, from which the later ones have it.

    Raises:
        ValueError: an argument out of range; a flow on another path, or weighted.
    """

    solvers: tuple[str, ...] = ("euler",)
    free_grid: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def __init__(self, flow: FlowMatching = _RF, M: int = 128, guidance: float = 1.0) -> None:
        super().__init__()
        check_flow("progressive_distillation", flow)
        if not 2 <= M <= _LARGEST_M or M & (M - 1):
            raise ValueError(f"progressive_distillation takes a power of two from 2 to {_LARGEST_M} as M, got {M}")
        check_guidance("progressive_distillation", guidance)
        self.flow, self.M, self.guidance = flow, M, guidance
        self.path = flow.path
        self.needs = replace(flow.needs, teacher="phases", condition=guidance != 1)

    @property
    def batch_multiple(self) -> int:
        return self.flow.batch_multiple

    @property
    def phases(self) -> int:
        """log2 M."""
        return self.M.bit_length() - 1

    @property
    def notation(self) -> str:
        name = "progressive_distillation"
        return name if self.flow.notation == "rf" else f"{name}/{self.flow.notation}"

    @torch.no_grad()
    def target(
        self, teacher: Network, z: Tensor, t: Tensor, condition: Condition, step: Tensor, *, guidance: float = 1.0
    ) -> Tensor:
        """The mean of the teacher's two half steps from t to t − step.

        Args:
            teacher: asked twice, at t and at t − step/2.
            z: (B, …) on the path at times t.
            t, step: (B,); t ≥ step.
            guidance: w.

        Raises:
            ValueError: guidance other than 1 without a condition.
        """
        asked, half = guided(self.flow, teacher, guidance, condition), step / 2
        first = self.flow.velocity(asked, z, t, condition)
        second = self.flow.velocity(asked, z - rows(half, z) * first, t - half, condition)
        return (first + second) / 2

    def loss(
        self,
        network: Network,
        x: Tensor,
        condition: Condition,
        draws: AnyDraws,
        *,
        teacher: Network | None = None,
        progress: float = 0.0,
    ) -> Loss:
        flow = self.flow
        teacher = needed("progressive_distillation", "teacher", teacher)
        phase = phase_of(progress, self.phases)
        count = self.M >> (phase + 1)
        noise = flow.noise(x, condition, draws)
        t = starts(flow, draws.uniform("time", x.shape[:1], working_dtype(x)), count)
        step = torch.full_like(t, 1 / count)
        condition = flow.dropped(condition, draws, len(x))
        z = flow.mix(x, noise, t)
        # Before the passes without a gradient, so that autocast caches no weight without one.
        raw = flow.raw(network, z, t, condition, dtype=x.dtype)
        guidance = self.guidance if phase == 0 else 1.0
        target = self.target(teacher, z, t, condition, step, guidance=guidance)
        error = mean_square(flow.head.velocity(flow.path, raw, z, t) - target)
        return Loss(error, {"loss_distillation": error.detach().mean()}, times=t, steps=step)

    def time_grid(self, steps: int) -> Tensor:
        """Any number of steps from 1 to M, each a binary one that starts at a multiple of its own length."""
        return torch.tensor(binary_times(steps, self.M), dtype=torch.float64)

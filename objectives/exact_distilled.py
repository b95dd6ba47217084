"""The exact networks of distilled and reflowed objectives, on data whose flow is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from objectives.base import Network
from objectives.condition import Condition
from objectives.consistency_distillation import ConsistencyDistillation
from objectives.flow_matching import FlowMatching
from objectives.heads import Velocity
from objectives.heads.base import rows
from objectives.live_reflow import LiveReflow
from objectives.progressive_distillation import ProgressiveDistillation

if TYPE_CHECKING:
    from objectives.oracle import GaussianMixture


def composed(data: GaussianMixture, flow: FlowMatching, finest: float, counts: Callable[[Tensor], Tensor]) -> Network:
    """The mean velocity over counts(t) Euler steps of length `finest` of the exact flow, from t (B,) on."""

    def network(z: Tensor, t: Tensor, condition: Condition = None, step: Tensor | None = None) -> Tensor:
        here, number = z, counts(t)
        for i in range(int(number.max())):
            moved = here - finest * data.velocity(flow.path, here, (t - i * finest).clamp(min=0))
            here = torch.where(rows(number, z) > i, moved, here)
        return _raw(flow, (z - here) / rows(number * finest, z), z, t)

    return network


def progressive_distillation(
    data: GaussianMixture, objective: ProgressiveDistillation, phases: int | None = None
) -> Network:
    """The student at the end of so many phases (of all where None); the first teacher, the flow itself, of none."""
    count = 2 ** (objective.phases if phases is None else phases)
    return composed(data, objective.flow, 1 / objective.M, lambda t: torch.full_like(t, count))


def consistency_distillation(data: GaussianMixture, objective: ConsistencyDistillation) -> Network:
    """The mean velocity of all of the teacher's steps down to 0."""
    M = objective.M
    return composed(data, objective.flow, 1 / M, lambda t: torch.round(t * M).clamp(min=1))


def live_reflow(data: GaussianMixture, objective: LiveReflow, *, stages: int = 4) -> Network:
    """The flow's velocity; at d = 1 the velocity ε − x̂(ε) of the one line that passes z at time t.

    Which ε that is comes from Newton's method along so many stages from t = 1, where it is z; lines that do not cross
    are taken for granted, which holds where the data are not far from normal.
    """
    flow = objective.flow

    def end(noise: Tensor) -> Tensor:
        z = noise
        for i in range(objective.steps):
            z = z - data.velocity(flow.path, z, z.new_full(z.shape[:1], 1 - i / objective.steps)) / objective.steps
        return z

    def sloped(noise: Tensor) -> tuple[Tensor, Tensor]:
        """(x̂ (B, D), its derivative (B, D, D))."""
        with torch.enable_grad():
            noise = noise.detach().requires_grad_()
            value = end(noise)
            slopes = [torch.autograd.grad(part.sum(), noise, retain_graph=True)[0] for part in value.unbind(1)]
        return value.detach(), torch.stack(slopes, dim=1)

    @torch.no_grad()
    def start(z: Tensor, t: Tensor) -> Tensor:
        noise, one = z, torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        for stage in range(1, stages + 1):
            at = rows(1 - (1 - t) * stage / stages, z)
            for _ in range(5 if stage == stages else 2):
                value, slope = sloped(noise)
                matrix = (1 - at[..., None]) * slope + at[..., None] * one
                noise = noise - torch.linalg.solve(matrix, (1 - at) * value + at * noise - z)
        return noise

    def network(z: Tensor, t: Tensor, condition: Condition = None, step: Tensor | None = None) -> Tensor:
        velocity = data.velocity(flow.path, z, t)
        if step is not None:
            place = ((step > 0.5) & (t < 1)).nonzero()[:, 0]
            noise = z.index_copy(0, place, start(z[place], t[place]))
            velocity = torch.where(rows(step, z) > 0.5, noise - end(noise), velocity)
        return _raw(flow, velocity, z, t)

    return network


def _raw(flow: FlowMatching, velocity: Tensor, z: Tensor, t: Tensor) -> Tensor:
    """The raw output that means a velocity at z on the straight path."""
    x, noise = Velocity().decode(flow.path, velocity, z, t)
    return flow.head.target(flow.path, x, noise, t)

"""The exact networks of few-step objectives, on data whose flow is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from objectives.base import Network
from objectives.condition import Condition
from objectives.consistency import gains
from objectives.consistency_training import ConsistencyTraining
from objectives.heads import EDMPreconditioned, Velocity
from objectives.heads.base import rows
from objectives.mean_flow import MeanFlow
from objectives.paths import VarianceExploding
from objectives.scm import SCM
from objectives.shortcut import Shortcut

if TYPE_CHECKING:
    from objectives.oracle import GaussianMixture


Field = Callable[[Tensor, Tensor, Condition], Tensor]
"""dz/dτ (B, …) at (z, path times (B,), condition)."""


def shortcut(velocity: Field, objective: Shortcut, *, null: Field | None = None) -> Network:
    """A shortcut model's own fixed point: two half steps are each step, down to Euler steps of the finest length.

    At the finest label the velocity itself; below it, and so in all longer steps, the one that guidance makes of it.

    Args:
        velocity: the flow's exact velocity, that of the null condition in dropped rows.
        null: that of the null condition in every row; needed where the objective guides.
    """
    flow, path, finest, w = objective.flow, objective.path, objective.finest, objective.guidance

    def mean(z: Tensor, t: Tensor, condition: Condition, level: int) -> Tensor:
        """The mean velocity over 2^level of the finest steps."""
        if level == 0:
            here = velocity(z, t, condition)
            return here if null is None else (1 - w) * null(z, t, condition) + w * here
        middle, change, rest = objective.halves(t, torch.full_like(t, finest * 2**level))
        first = mean(z, t, condition, level - 1)
        second = mean(objective.clipped(z - rows(change, z) * first), middle, condition, level - 1)
        return objective.clipped((rows(change, z) * first + rows(rest, z) * second) / rows(change + rest, z))

    def network(z: Tensor, t: Tensor, condition: Condition = None, step: Tensor | None = None) -> Tensor:
        time = flow.label_time(t)
        scale = flow.head.scale(path, time)
        z = z if scale is None else z / rows(scale, z)
        out = velocity(z, time, condition)
        levels = torch.zeros_like(t) if step is None else torch.log2(step / finest).round().clamp(min=0)
        for level in levels.unique().tolist():
            if level:
                place = (levels == level).nonzero()[:, 0]
                some = None if condition is None else {name: value[place] for name, value in condition.items()}
                out = out.index_copy(0, place, mean(z[place], time[place], some, int(level)))
        x, noise = Velocity().decode(path, out, z, time)
        return flow.head.target(path, x, noise, time)

    return network


def mean_flow(data: GaussianMixture, objective: MeanFlow, *, steps: int = 64) -> Network:
    """The mean velocity over a step, by so many steps of the classical Runge–Kutta method."""
    flow = objective.flow

    def network(z: Tensor, t: Tensor, condition: Condition = None, step: Tensor | None = None) -> Tensor:
        d = (torch.zeros_like(t) if step is None else step) / steps
        here, total = z, torch.zeros_like(z)
        for i in range(steps):
            at = t - i * d
            k1 = data.velocity(flow.path, here, at)
            k2 = data.velocity(flow.path, here - rows(d / 2, z) * k1, at - d / 2)
            k3 = data.velocity(flow.path, here - rows(d / 2, z) * k2, at - d / 2)
            k4 = data.velocity(flow.path, here - rows(d, z) * k3, at - d)
            mean = (k1 + 2 * k2 + 2 * k3 + k4) / 6
            here, total = here - rows(d, z) * mean, total + mean / steps
        x, noise = Velocity().decode(flow.path, total, z, t)
        return flow.head.target(flow.path, x, noise, t)

    return network


def consistency_training(data: GaussianMixture, objective: ConsistencyTraining, *, steps: int = 100) -> Network:
    """What makes f the point at σ_min where the flow carries z."""
    path, head = objective.flow.path, objective.flow.head
    assert isinstance(path, VarianceExploding)
    assert isinstance(head, EDMPreconditioned)

    def network(z: Tensor, t: Tensor, condition: Condition = None, step: Tensor | None = None) -> Tensor:
        time = head.time(path, t)
        z = z / rows(head.scale(path, time), z)
        sigma = path.b(time)
        last = path.time(torch.full_like(time, path.sigma_min))
        skip, out = gains(sigma, path, head.sigma_data)
        raw = (data.flow_map(path, z, time, last, steps=steps) - rows(skip, z) * z) / rows(out, z)
        return torch.where(rows(out, z) > 1e-12, raw, torch.zeros_like(z))

    return network


def scm(data: GaussianMixture, objective: SCM, *, steps: int = 100) -> Network:
    """What makes f the point where the flow ends."""
    path, head = objective.flow.path, objective.flow.head

    def network(z: Tensor, t: Tensor, condition: Condition = None, step: Tensor | None = None) -> Tensor:
        z = z / rows(head.scale(path, t), z)  # pyright: ignore[reportArgumentType]
        end = data.flow_map(path, z, t, torch.zeros_like(t), steps=steps)
        return (rows(path.a(t), z) * z - end) / rows(path.b(t), z)

    return network

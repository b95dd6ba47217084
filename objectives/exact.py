"""The exact networks of few-step objectives, on data whose flow is known."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from objectives.oracle import GaussianMixture


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

"""Objectives for tests: the student says what its teacher says, at the noise and times of flow matching."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from objectives.base import Loss, Needs, Network, Objective
from objectives.condition import Condition
from objectives.flow_matching import FlowMatching, mean_square


class Frozen(Objective):
    """Learns from a trained network.

    Args:
        flow: path and head, and where to learn.
    """

    version: ClassVar[int] = 1
    asked: ClassVar[Needs] = Needs(teacher="frozen")

    def __init__(self, flow: FlowMatching = FlowMatching()) -> None:  # noqa: B008
        super().__init__()
        self.flow, self.path, self.solvers = flow, flow.path, flow.solvers
        self.needs = replace(self.asked)

    @property
    def notation(self) -> str:
        return type(self).__name__.lower()

    def loss(
        self, network: Network, x: Tensor, condition: Condition, draws: Any, *, teacher: Any = None,
        average: Any = None, progress: float = 0.0,
    ) -> Loss:  # fmt: skip
        noise = self.flow.noise(x, condition, draws)
        t = self.flow.times(draws.uniform("time", x.shape[:1], x.dtype))
        z = self.flow.mix(x, noise, t)
        step = torch.full_like(t, 0.5)
        told = step if self.needs.step else None
        with torch.no_grad():
            target = teacher(z, t, condition, step)
            if average is not None:
                target = (target + average(z, t, condition, told)) / 2
        error = mean_square(network(z, t, condition, told) - target)
        return Loss(error, {"target": target.mean(), "target_size": target.square().mean()}, times=t)

    def loss_at(self, network: Network, x: Tensor, condition: Condition, t: Tensor, noise: Tensor) -> Tensor:
        asked = (lambda z, t, c, step=None: network(z, t, c, torch.full_like(t, 0.5))) if self.needs.step else network
        return self.flow.loss_at(asked, x, condition, t, noise)

    def predict(self, network: Network, z: Tensor, t: Tensor, condition: Condition, step: Any = None) -> Any:
        return self.flow.predict(network, z, t, condition, step)

    def velocity(self, network: Network, z: Tensor, t: Tensor, condition: Condition, step: Any = None) -> Tensor:
        return self.flow.velocity(network, z, t, condition, step)

    def time_grid(self, steps: int) -> Tensor:
        return self.flow.time_grid(steps)


class Averaged(Frozen):
    """Learns from a trained network and from its own average."""

    asked: ClassVar[Needs] = Needs(teacher="frozen", average=True)


class Phased(Frozen):
    """Learns from a trained network, then twice from what it has become. Told the step's length."""

    asked: ClassVar[Needs] = Needs(teacher="phases", step=True)

    @property
    def phases(self) -> int:
        return 3


class Consistent(Frozen):
    """A network that tells where the flow ends."""

    asked: ClassVar[Needs] = Needs()

    def __init__(self, flow: FlowMatching = FlowMatching()) -> None:  # noqa: B008
        super().__init__(flow)
        self.solvers = ("consistency",)

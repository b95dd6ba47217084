"""Objectives that are sampled as the flow that they are made over: their path, head, times and grid are its own."""

from __future__ import annotations

from torch import Tensor

from objectives.base import Network, Objective
from objectives.condition import Condition
from objectives.flow_matching import FlowMatching


class OverFlow(Objective):
    """An objective whose prediction, velocity and grid are its flow's, unless it says otherwise."""

    flow: FlowMatching

    def told(self, t: Tensor, step: Tensor | None) -> Tensor | None:
        """The step length (B,) that the network is told at t where a sampler asks for `step`; None: it is told none."""
        return None

    def loss_at(self, network: Network, x: Tensor, condition: Condition, t: Tensor, noise: Tensor) -> Tensor:
        return self.flow.loss_at(network, x, condition, t, noise, self.told(t, None))

    def predict(
        self, network: Network, z: Tensor, t: Tensor, condition: Condition, step: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self.flow.predict(network, z, t, condition, self.told(t, step))

    def velocity(
        self, network: Network, z: Tensor, t: Tensor, condition: Condition, step: Tensor | None = None
    ) -> Tensor:
        return self.flow.velocity(network, z, t, condition, self.told(t, step))

    def time_grid(self, steps: int) -> Tensor:
        return self.flow.time_grid(steps)

    def label_time(self, label: Tensor) -> Tensor:
        return self.flow.label_time(label)

"""Live reflow: a flow and its reflowed one in a single network, which makes its pairs while it learns."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from objectives.base import Loss, Network
from objectives.condition import Condition
from objectives.distillation import check_guidance, guided
from objectives.draws import AnyDraws
from objectives.flow_matching import FlowMatching, working_dtype
from objectives.groups import leading, leading_condition, trailing, with_leading
from objectives.over_flow import OverFlow
from objectives.paths import Straight

_RF = FlowMatching()
_LARGEST_GROUP = 64
_MOST_STEPS = 2**16


class LiveReflow(OverFlow):
    """Live reflow: on a share 1 − k of the rows flow matching, on the others reflow with pairs made on the spot.

        E ‖v(z, t, d) − (ε − x)‖², z = (1 − t)·x + t·ε, d = 1/M: x from the data; d = 1: x = x̂(ε),

    x̂ being where so many Euler steps of the network itself, asked with d = 1/M and without a gradient, carry ε. What
    the network is told as a step only says which of the two flows is meant: sampled in M steps or more it is asked for
    the flow, in fewer for the reflowed one. The rows at positions ≡ 0 mod 1/k are the reflowed ones. A training step
    costs 3 + k·steps passes, 3 being the one with a gradient, with guidance 3 + 2·k·steps.
    Source: Frans et al. 2025 (One step diffusion via shortcut models), §5 and its public code; Liu et al. 2022
    (Rectified Flow), algorithm 1.

    Where this departs from the public code: reflowed rows are spread over the batch, not its first, and their
    conditions are dropped as the others'; times are the flow's own, not rounded to 1/128.

    Args:
        flow: the flow-matching objective of both, on the straight path.
        k: share of reflowed rows, 1/2, 1/3, … 1/64.
        steps: Euler steps that make a pair, 1 to 2¹⁶.
        guidance: w with which pairs are made.
        M: number of steps from which sampling asks for the flow, 2 to 2¹⁶.

    Raises:
        ValueError: an argument out of range; a flow on another path.
    """

    solvers: tuple[str, ...] = ("euler",)
    free_grid: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def __init__(
        self, flow: FlowMatching = _RF, k: float = 0.125, steps: int = 8, guidance: float = 1.0, M: int = 128
    ) -> None:
        super().__init__()
        if not isinstance(flow.path, Straight):
            raise ValueError(f"live_reflow needs a flow on the path straight, got {flow.path}")
        if not 0.99 / _LARGEST_GROUP < k <= 0.5 or abs(round(1 / k) * k - 1) > 1e-6:
            raise ValueError(f"live_reflow takes a share k of 1/2, 1/3, … 1/{_LARGEST_GROUP}, got {k}")
        if not 1 <= steps <= _MOST_STEPS:
            raise ValueError(f"live_reflow takes 1 to {_MOST_STEPS} steps for its pairs, got {steps}")
        if not 2 <= M <= _MOST_STEPS:
            raise ValueError(f"live_reflow takes 2 to {_MOST_STEPS} as M, got {M}")
        check_guidance("live_reflow", guidance)
        self.flow, self.k, self.steps, self.guidance, self.M = flow, k, steps, guidance, M
        self._group = round(1 / k)
        self.path = flow.path
        self.needs = replace(flow.needs, step=True, condition=guidance != 1)

    @property
    def batch_multiple(self) -> int:
        return math.lcm(self._group, self.flow.batch_multiple)

    @property
    def notation(self) -> str:
        return "live_reflow" if self.flow.notation == "rf" else f"live_reflow/{self.flow.notation}"

    def told(self, t: Tensor, step: Tensor | None) -> Tensor:
        """1/M for steps of 1/M or less, 1 for longer ones; 1/M where there is no step."""
        finest, whole = torch.full_like(t, 1 / self.M), torch.ones_like(t)
        return finest if step is None else torch.where(step.to(t.dtype) > 1.001 * finest, whole, finest)

    @torch.no_grad()
    def end(self, network: Network, noise: Tensor, condition: Condition, *, dtype: torch.dtype) -> Tensor:
        """(B, …) x̂: where Euler steps of the network's flow carry the noise, with guidance. It is fed in `dtype`.

        Raises:
            ValueError: guidance other than 1 without a condition.
        """
        flow, asked, z = self.flow, guided(self.flow, network, self.guidance, condition), noise
        for i in range(self.steps):
            t = z.new_full(z.shape[:1], 1 - i / self.steps)
            raw = flow.raw(asked, z, t, condition, self.told(t, None), dtype=dtype)
            z = z - flow.head.velocity(flow.path, raw, z, t) / self.steps
        return z

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
        flow, group = self.flow, self._group
        if len(x) % group:
            raise ValueError(f"live_reflow with k = {self.k:g} takes batches of a multiple of {group}, got {len(x)}")
        noise = flow.noise(x, condition, draws)
        t = flow.times(draws.uniform("time", x.shape[:1], working_dtype(x)))
        condition = flow.dropped(condition, draws, len(x))
        few = leading_condition(condition, group, 1)
        end = self.end(network, leading(noise, group, 1), few, dtype=x.dtype)
        if torch.is_autocast_enabled(x.device.type):
            # Weights that autocast cast and cached without a gradient must not serve the forward pass below.
            torch.clear_autocast_cache()
        ends = with_leading(x.to(noise.dtype), end, group, 1)
        step = with_leading(self.told(t, None), t.new_ones(len(end)), group, 1)
        raw = flow.raw(network, flow.mix(ends, noise, t), t, condition, step, dtype=x.dtype)
        error = flow.errors(raw, ends, noise, t)
        logs = {
            "loss_flow": trailing(error.detach(), group, 1).mean(),
            "loss_reflow": leading(error.detach(), group, 1).mean(),
        }
        return Loss(flow.weighted(error, t), logs, times=t, steps=step)

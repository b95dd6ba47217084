"""Shortcut models: one network that takes steps of any length."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from objectives.base import Loss, Network, Objective, count_steps
from objectives.condition import Condition, every
from objectives.draws import AnyDraws
from objectives.flow_matching import FlowMatching, mean_square, working_dtype
from objectives.heads.base import rows
from objectives.paths import Straight
from objectives.weightings import Unweighted

_RF = FlowMatching()
_LARGEST_M = 2**16


class Shortcut(Objective):
    """Shortcut model: v(z, t, d) is the mean velocity over a step from t to t − d, d = 1/M, 2/M, 4/M, …, 1.

    A share 1 − k of the rows regresses the finest step onto the flow's own target. A share k, the rows at positions
    ≡ 0 mod 1/k, regresses a step d ≥ 2/M onto two half steps of the teacher, t a multiple of d:

        target = (u₁ + u₂)/2, u₁ = v_teacher(z, t, d/2), u₂ = v_teacher(z − d/2·u₁, t − d/2, d/2).

    Both parts weigh alike, in one forward pass over the batch; the two half steps cost 2k/3 of a flow step.
    Source: Frans et al. 2025 (One step diffusion via shortcut models), eq. 4 and 5, algorithm 1; their t is 1 − t.

    Where this departs from the public code: the step sizes rotate over rows and optimiser steps, so each is trained
    at any batch size (there a batch below M's logarithm over k trains a single one), long ones more often than short
    ones (``bias=0`` is the paper's even share; docs/decisions/0007 has the measurement); flow times are the flow's
    own, not rounded to multiples of 1/M; self-consistency rows have images of their own; a condition is dropped on
    all rows alike; nothing is clipped.

    Args:
        flow: the flow-matching objective of the finest step, on the straight path.
        M: number of finest steps, a power of two, 2 to 2¹⁶.
        k: share of self-consistency rows, 1/2, 1/3, 1/4, …
        bias: how much more often long steps are trained: d with a frequency ∝ d^bias, from 0 (all alike, the paper) to
            1 (a step about as often as all shorter ones together).
        label: what the finest step is labelled, "finest" (1/M, the public code) or "zero" (0, the paper's text).
        teacher: "ema" or "online", whose half steps are the target.

    Raises:
        ValueError: an argument out of range; a flow on another path, or weighted.
    """

    solvers: tuple[str, ...] = ("euler",)
    free_grid: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def __init__(
        self,
        flow: FlowMatching = _RF,
        M: int = 128,
        k: float = 0.25,
        bias: float = 1.0,
        label: Literal["finest", "zero"] = "finest",
        teacher: Literal["ema", "online"] = "ema",
    ) -> None:
        super().__init__()
        if not isinstance(flow.path, Straight):
            raise ValueError(f"shortcut needs a flow on the path straight, got {flow.path}")
        if not isinstance(flow.weighting, Unweighted):
            raise ValueError(f"shortcut weighs its two parts alike and takes no weighting, got {flow.weighting}")
        if not 2 <= M <= _LARGEST_M or M & (M - 1):
            raise ValueError(f"shortcut takes a power of two from 2 to {_LARGEST_M} as M, got {M}")
        if not 0 < k <= 0.5 or abs(round(1 / k) * k - 1) > 1e-6:
            raise ValueError(f"shortcut takes a share k of 1/2, 1/3, 1/4, …, got {k}")
        if not 0 <= bias <= 1:
            raise ValueError(f"shortcut takes a bias towards long steps from 0 to 1, got {bias}")
        if label not in ("finest", "zero"):
            raise ValueError(f"shortcut's label is one of finest, zero; got {label!r}")
        if teacher not in ("ema", "online"):
            raise ValueError(f"shortcut's teacher is one of ema, online; got {teacher!r}")
        self.flow, self.M, self.k, self.bias, self.label, self.teacher = flow, M, k, bias, label, teacher
        self.levels: Tensor
        self.register_buffer("levels", torch.tensor(_rotation(M.bit_length() - 1, bias)), persistent=False)
        self.path = flow.path
        self.needs = replace(flow.needs, step=True, teacher="ema" if teacher == "ema" else "none")

    @property
    def batch_multiple(self) -> int:
        return math.lcm(self._group, self.flow.batch_multiple)

    @property
    def _group(self) -> int:
        """Rows per self-consistency row."""
        return round(1 / self.k)

    @property
    def notation(self) -> str:
        return "shortcut" if self.flow.notation == "rf" else f"shortcut/{self.flow.notation}"

    def _labelled(self, step: Tensor) -> Tensor:
        """What the network is told of a step's length."""
        return step if self.label == "finest" else torch.where(step > 1.5 / self.M, step, torch.zeros_like(step))

    def _finest(self, t: Tensor) -> Tensor:
        return torch.full_like(t, 1 / self.M)

    @torch.no_grad()
    def target(self, teacher: Network, z: Tensor, t: Tensor, condition: Condition, step: Tensor) -> Tensor:
        """The self-consistency target of steps from t to t − step: the mean of the teacher's two half steps.

        Args:
            teacher: asked twice, at t and at t − step/2, each time with step/2.
            z: (B, …) on the path at times t.
            t, step: (B,); t ≥ step ≥ 2/M.
        """
        half = step / 2
        first = self.velocity(teacher, z, t, condition, half)
        second = self.velocity(teacher, z - rows(half, z) * first, t - half, condition, half)
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
        group, flow = self._group, self.flow
        if len(x) % group:
            raise ValueError(f"shortcut with k = {self.k:g} needs batches of a multiple of {group}, got {len(x)}")
        dtype = working_dtype(x)
        noise = flow.noise(x, condition, draws)
        uniforms = draws.uniform("time", x.shape[:1], dtype)
        condition = flow.dropped(condition, draws, len(x))

        # Steps d = 2^-level, level 0 … log2(M) − 1; times on the multiples d, 2d, …, 1.
        level = self.levels[draws.cycle("step", len(self.levels), every=group)[::group]].to(dtype)
        count = torch.exp2(level)
        step = _first_of_group(1 / count, self._finest(uniforms))
        t = _first_of_group((torch.floor(uniforms[::group] * count) + 1) / count, flow.times(uniforms))

        z = flow.mix(x, noise, t)
        fed, first = z.to(x.dtype), slice(None, None, group)
        target = self.target(
            self._teacher(network, teacher), fed[first].to(dtype), t[first], every(condition, group), step[first]
        )
        if torch.is_autocast_enabled(x.device.type):
            # Weights that autocast cast and cached without a gradient must not serve the forward pass below.
            torch.clear_autocast_cache()
        raw = flow.raw(network, z, t, condition, self._labelled(step), dtype=x.dtype)
        flow_error = flow.errors(raw, x, noise, t)
        own = flow.head.velocity(flow.path, raw[first], z[first], t[first])
        consistency = mean_square(own - target)
        return Loss(
            _first_of_group(consistency, flow_error),
            {
                "loss_flow": flow_error.detach().view(-1, group)[:, 1:].mean(),
                "loss_self_consistency": consistency.detach().mean(),
            },
            times=t,
            steps=step,
        )

    def _teacher(self, network: Network, teacher: Network | None) -> Network:
        if self.teacher == "online":
            return network
        if teacher is None:
            raise ValueError("shortcut with an EMA teacher needs loss(…, teacher=the EMA network)")
        return teacher

    def loss_at(self, network: Network, x: Tensor, condition: Condition, t: Tensor, noise: Tensor) -> Tensor:
        return self.flow.loss_at(network, x, condition, t, noise, self._labelled(self._finest(t)))

    def predict(
        self, network: Network, z: Tensor, t: Tensor, condition: Condition, step: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        step = self._finest(t) if step is None else step
        return self.flow.predict(network, z, t, condition, self._labelled(step))

    def velocity(
        self, network: Network, z: Tensor, t: Tensor, condition: Condition, step: Tensor | None = None
    ) -> Tensor:
        step = self._finest(t) if step is None else step
        return self.flow.velocity(network, z, t, condition, self._labelled(step))

    def time_grid(self, steps: int) -> Tensor:
        """Any number of steps from 1 to M: binary steps, each from a multiple of its own length, two lengths at most.

        With 2^j ≤ steps < 2^(j+1), 2^j equal intervals, of which steps − 2^j, evenly spread, are halved.
        """
        count = 1 << (count_steps(steps, self.M).bit_length() - 1)
        halved = steps - count
        times = [1.0]
        for i in range(count):
            if (i + 1) * halved // count > i * halved // count:
                times.append(1 - (i + 0.5) / count)
            times.append(1 - (i + 1) / count)
        return torch.tensor(times, dtype=torch.float64)

    def label_time(self, label: Tensor) -> Tensor:
        return self.flow.label_time(label)


def _first_of_group(first: Tensor, rest: Tensor) -> Tensor:
    """(B,): `rest`, but for the first of each of len(first) groups, which is `first`'s."""
    return torch.cat((first[:, None], rest.view(len(first), -1)[:, 1:]), dim=1).flatten()


def _rotation(levels: int, bias: float) -> list[int]:
    """A round with level ℓ, the step 2^−ℓ, in proportion to 2^(−bias·ℓ), each at least once and spread out evenly."""
    weights = [2 ** (-bias * level) for level in range(levels)]
    credit, rounds = [0.0] * levels, []
    for _ in range(math.ceil(sum(weights) / weights[-1])):
        credit = [have + weight for have, weight in zip(credit, weights, strict=True)]
        rounds.append(max(range(levels), key=credit.__getitem__))
        credit[rounds[-1]] -= sum(weights)
    return rounds

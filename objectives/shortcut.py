"""Shortcut models: one network that takes steps of any length."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from objectives.base import Loss, Network, Objective
from objectives.condition import Condition, every
from objectives.draws import AnyDraws
from objectives.flow_matching import FlowMatching, mean_square, working_dtype
from objectives.groups import trailing, with_leading
from objectives.heads.base import rows
from objectives.shortcut_grid import binary_times, check_steps, most_of, rotation, velocity_gain
from objectives.shortcut_guidance import guided_rows
from objectives.weightings import Unweighted

_RF = FlowMatching()
_LARGEST_M = 2**16


class Shortcut(Objective):
    """Shortcut model: v(z, t, d) is the mean velocity over a step from t to t − d, d = 1/M, 2/M, 4/M, …, 1.

    A share 1 − k of the rows regresses the finest step onto the flow's own target. A share k, the rows at positions
    ≡ 0 mod 1/k, regresses a step d ≥ 2/M onto two half steps of the teacher, t a multiple of d:

        target = (h₁·u₁ + h₂·u₂)/(h₁ + h₂), u₁ = v_teacher(z, t, d/2), u₂ = v_teacher(z − h₁·u₁, t − d/2, d/2),

    h being what each takes of the clock τ: d/2 both, except on ldm_linear and variance_exploding, whose ODE runs in
    another variable than t. Times and steps are t_max times these where a path ends at another t_max than 1. Both
    parts are errors of the head's raw output and weigh alike, in one forward pass over the batch; the two half steps
    cost 2k/3 of a flow step.
    Source: Frans et al. 2025 (One step diffusion via shortcut models), eq. 4 and 5, algorithm 1; their t is 1 − t.

    Guidance w enters once, at the bottom: where the half steps are the finest, the teacher's velocity is
    v∅ + w·(v_c − v∅), and longer steps inherit it. It is sampled with guidance 1 in M/2 steps or fewer, and a step of
    the finest length, which stays unguided, with guidance w. The null rows go through the teacher with the others, in
    one call: 2/3 of the share of rows whose half steps can be the finest is what they cost of a flow step (a seventh
    of the share k with M = 128 and ``bias=0``). Take a bias of 1/2 with guidance: ``bias=1`` trains those steps so
    seldom, once in M − 1 rows, that guidance reaches the longest ones late (docs/decisions/0007).

    Where this departs from the public code: the step sizes rotate over rows and optimiser steps, so each is trained
    at any batch size (there a batch below M's logarithm over k trains a single one), long ones more often than short
    ones (``bias=0`` is the paper's even share; docs/decisions/0007 has the measurement); flow times are the flow's
    own, not rounded to multiples of 1/M; self-consistency rows have images of their own; a condition is dropped on
    all rows alike, so that the null condition has steps of every length and few-step samples can be guided as well
    (there it has the finest alone); nothing is clipped unless asked for. Any path whose clock is finite is taken, any
    head whose output gives the velocity: exact with all of them, though with a head of little gain in the data at the
    path's end (epsilon; velocity on variance_exploding, where edm has a gain of its own) long steps are hard to learn.

    Args:
        flow: the flow-matching objective of the finest step.
        M: number of finest steps, a power of two, 2 to 2¹⁶.
        k: share of self-consistency rows, 1/2, 1/3, 1/4, …
        bias: how much more often long steps are trained: d with a frequency ∝ d^bias, from 0 (all alike, the paper) to
            1 (a step about as often as all shorter ones together).
        label: what the finest step is labelled, "finest" (1/M, the public code) or "zero" (0, the paper's text).
        teacher: "ema" or "online", whose half steps are the target.
        guidance: w; 1 means none. It needs a null condition, learned by the flow's ``condition_drop``.
        clip: largest magnitude of the half step's end and of the target, element by element (the public code: 4).

    Raises:
        ValueError: an argument out of range; a flow that is weighted, whose clock or velocity is not finite, or, with
            guidance, that drops no condition or every one.
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
        guidance: float = 1.0,
        clip: float | None = None,
    ) -> None:
        super().__init__()
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
        check_steps(flow, M)
        if not math.isfinite(guidance):
            raise ValueError(f"shortcut's guidance must be a finite number, got {guidance}")
        if guidance != 1 and not 0 < flow.condition_drop < 1:
            raise ValueError(
                f"shortcut with guidance {guidance:g} needs a flow that drops some conditions, for the null one to be "
                f"learned: condition_drop between 0 and 1, got {flow.condition_drop:g}"
            )
        loudest = float(flow.path.b(torch.tensor([flow.path.t_max], dtype=torch.float64, device="cpu")))
        if clip is not None and not loudest < clip < math.inf:
            raise ValueError(f"shortcut clips at more than {loudest:g}, the noise's scale on {flow.path}, got {clip}")
        self.flow, self.M, self.k, self.bias, self.label, self.teacher = flow, M, k, bias, label, teacher
        self.guidance, self.clip = guidance, clip
        self._round, self._most = rotation(M.bit_length() - 1, bias), dict[int, int]()
        self.levels: Tensor
        self.register_buffer("levels", torch.tensor(self._round), persistent=False)
        self.path, self.finest = flow.path, flow.path.t_max / M
        self.needs = replace(
            flow.needs, step=True, teacher="ema" if teacher == "ema" else "none", condition=guidance != 1
        )

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
        return step if self.label == "finest" else torch.where(step > 1.5 * self.finest, step, torch.zeros_like(step))

    def _finest(self, t: Tensor) -> Tensor:
        return torch.full_like(t, self.finest)

    def clipped(self, value: Tensor) -> Tensor:
        """The value within ±clip."""
        return value if self.clip is None else value.clamp(-self.clip, self.clip)

    def halves(self, t: Tensor, step: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(middle time, h₁, h₂), each (B,), of steps from t to t − step."""
        middle, end = t - step / 2, (t - step).clamp(min=0)
        tau = self.path.clock(middle)
        return middle, self.path.clock(t) - tau, tau - self.path.clock(end)

    @torch.no_grad()
    def target(
        self,
        teacher: Network,
        z: Tensor,
        t: Tensor,
        condition: Condition,
        step: Tensor,
        *,
        most_guided: int | None = None,
    ) -> Tensor:
        """The self-consistency target of steps from t to t − step: the mean of the teacher's two half steps.

        Args:
            teacher: asked twice, at t and at t − step/2, each time with step/2.
            z: (B, …) on the path at times t.
            t, step: (B,); t ≥ step ≥ 2/M.
            most_guided: how many of the rows can have the finest half steps, all where None: with guidance so many
                null rows are asked beside the others.

        Raises:
            ValueError: guidance without a condition; more rows to guide than announced (looked at on the CPU alone).
        """
        half, (middle, change, rest) = step / 2, self.halves(t, step)
        asked = teacher
        if self.guidance != 1:
            asked = guided_rows(
                teacher, self.guidance, half < 1.5 * self.finest, len(z) if most_guided is None else most_guided
            )
        first = self.velocity(asked, z, t, condition, half)
        there = self.clipped(z - rows(change, z) * first)
        second = self.velocity(asked, there, middle, condition, half)
        share = change / (change + rest)
        return self.clipped(rows(share, z) * first + rows(1 - share, z) * second)

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

        # Steps d = t_max·2^-level, level 0 … log2(M) − 1; times on the multiples d, 2d, …, t_max.
        level = self.levels[draws.cycle("step", len(self.levels), every=group)[::group]].to(dtype)
        count, last = torch.exp2(level), self.path.t_max
        step = with_leading(self._finest(uniforms), last / count, group, 1)
        t = last * ((torch.floor(uniforms[::group] * count) + 1) / count)
        t = with_leading(flow.times(uniforms), t, group, 1)

        z = flow.mix(x, noise, t)
        fed, first = z.to(x.dtype), slice(None, None, group)
        target = self.target(
            self._teacher(network, teacher),
            fed[first].to(dtype),
            t[first],
            every(condition, group),
            step[first],
            most_guided=self.most_guided(len(x)),
        )
        if torch.is_autocast_enabled(x.device.type):
            # Weights that autocast cast and cached without a gradient must not serve the forward pass below.
            torch.clear_autocast_cache()
        raw = flow.raw(network, z, t, condition, self._labelled(step), dtype=x.dtype)
        flow_error = flow.errors(raw, x, noise, t)
        own = flow.head.velocity(flow.path, raw[first], z[first], t[first])
        consistency = mean_square(own - target) / velocity_gain(flow, t[first]) ** 2
        return Loss(
            with_leading(flow_error, consistency, group, 1),
            {
                "loss_flow": trailing(flow_error.detach(), group, 1).mean(),
                "loss_self_consistency": consistency.detach().mean(),
            },
            times=t,
            steps=step,
        )

    def most_guided(self, batch: int) -> int:
        """How many rows of a batch can have the finest half steps, whichever step sizes it begins with."""
        count = batch // self._group
        if count not in self._most:
            self._most[count] = most_of(self._round, self.M.bit_length() - 2, count)
        return self._most[count]

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

        With 2^j ≤ steps < 2^(j+1), 2^j equal intervals of path time, of which steps − 2^j, evenly spread, are halved.
        """
        return self.path.t_max * torch.tensor(binary_times(steps, self.M), dtype=torch.float64)

    def label_time(self, label: Tensor) -> Tensor:
        return self.flow.label_time(label)

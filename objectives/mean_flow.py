"""MeanFlow: the mean velocity over any interval, learned by its own differential equation."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import ClassVar

import torch
from torch import Tensor

from objectives.base import Loss, Network
from objectives.condition import Condition, with_null
from objectives.densities import LogitNormal
from objectives.draws import AnyDraws
from objectives.flow_matching import FlowMatching, mean_square, working_dtype
from objectives.groups import leading, leading_condition, trailing, with_leading
from objectives.heads.base import rows
from objectives.over_flow import OverFlow
from objectives.paths import Straight
from objectives.tangents import along
from objectives.weightings import Unweighted

_LOGNORM = FlowMatching(time=LogitNormal(-0.4, 1.0))
_LARGEST_GROUP = 64


class MeanFlow(OverFlow):
    """MeanFlow: u(z, t, d) is the mean velocity over a step from t to t − d, of any length d ≥ 0.

    From d·u = ∫ v over the step follows u = v − d·(d/dt)u with the step's end held fixed, so the loss is

        E ‖u(z, t, d) − sg[v − d·(v·∂_z + ∂_t + ∂_d)u(z, t, d)]‖²·sg[‖…‖² + c]^−p, v = ε − x, z = (1−t)·x + t·ε.

    The bracket is one forward-mode derivative of the network, without a gradient. t and t − d are the larger and the
    smaller of two draws from the flow's density; on a share 1 − ratio of the rows d = 0, where the loss is flow
    matching's. A pass with a gradient being three, a training step costs 3 + 2·ratio passes (counted 3 + ratio: the
    derivative is left out of counts), guidance 1 more, 2 with kappa. A network of its own time embedding should have
    ``time_scale=1``: the derivative grows with the embedding's frequencies.

    Guidance inside training: in place of v stands, where a row has its condition and guided_from ≤ t ≤ guided_to,

        v_g = omega·v + (1 − omega − kappa)·u(z, t, 0 | ∅) + kappa·u(z, t, 0 | c),

    of which u(·|c) becomes the mean field of guidance w = omega/(1 − kappa), sampled with one call a step and w = 1.
    Source: Geng et al. 2025 (Mean flows for one-step generative modeling), eq. 6, 9 to 11, 19 to 22; their r is t − d.

    Where this departs from the public code: the derivative is taken on the rows with d > 0 alone, where the code
    takes it on all and multiplies by zero, and the other rows, at fixed positions, are not the first of the batch but
    spread over it; the network's value and its derivative are separate calls, the first with a gradient, the second
    with none; errors are means over a sample's elements, so c is divided by their number and for p other than 1 the
    loss is theirs but for a constant factor.

    Args:
        flow: the flow-matching objective at d = 0, on the straight path; times are drawn from its density.
        ratio: share of rows with d > 0, in (0, 1]: a fraction of a denominator up to 64.
        p: power of the adaptive weight, in [0, 2]; 0 switches it off, 1 is nearly the norm as a loss.
        c: keeps the adaptive weight finite, positive; relative to a squared error summed over a sample.
        omega: weight of the conditional velocity in the guided one, at least 0.
        kappa: weight of the network's own conditional one, in [0, 1).
        guided_from, guided_to: first and last time at which to guide.

    Raises:
        ValueError: an argument out of range; a flow on another path, or weighted.
    """

    solvers: tuple[str, ...] = ("euler",)
    version: ClassVar[int] = 1

    def __init__(
        self,
        flow: FlowMatching = _LOGNORM,
        ratio: float = 0.25,
        p: float = 1.0,
        c: float = 0.01,
        omega: float = 1.0,
        kappa: float = 0.0,
        guided_from: float = 0.0,
        guided_to: float = 1.0,
    ) -> None:
        super().__init__()
        if not isinstance(flow.path, Straight):
            raise ValueError(f"mean_flow needs a flow on the path straight, got {flow.path}")
        if not isinstance(flow.weighting, Unweighted):
            raise ValueError(f"mean_flow has a weight of its own and takes no weighting, got {flow.weighting}")
        share = Fraction(ratio).limit_denominator(_LARGEST_GROUP) if math.isfinite(ratio) else Fraction(0)
        if not 0 < ratio <= 1 or abs(float(share) - ratio) > 1e-6:
            raise ValueError(f"mean_flow takes a ratio in (0, 1], n/{_LARGEST_GROUP} or simpler, got {ratio}")
        if not 0 <= p <= 2 or not 0 < c < math.inf:
            raise ValueError(f"mean_flow takes p in [0, 2] and a positive finite c, got p={p}, c={c}")
        if not 0 <= omega < math.inf or not 0 <= kappa < 1:
            raise ValueError(f"mean_flow takes omega ≥ 0 and kappa in [0, 1), got omega={omega}, kappa={kappa}")
        if not 0 <= guided_from <= guided_to <= 1:
            raise ValueError(
                f"mean_flow takes 0 ≤ guided_from ≤ guided_to ≤ 1, got guided_from={guided_from}, guided_to={guided_to}"
            )
        self.flow, self.ratio, self.p, self.c, self.omega, self.kappa = flow, ratio, p, c, omega, kappa
        self.guided_from, self.guided_to = guided_from, guided_to
        self._count, self._group = share.numerator, share.denominator
        self.path = flow.path
        self.needs = replace(flow.needs, step=True, jvp=True)

    @property
    def batch_multiple(self) -> int:
        return math.lcm(self._group, self.flow.batch_multiple)

    @property
    def notation(self) -> str:
        return "mean_flow" if self.flow.notation == _LOGNORM.notation else f"mean_flow/{self.flow.notation}"

    def told(self, t: Tensor, step: Tensor | None) -> Tensor:
        return torch.zeros_like(t) if step is None else step

    @torch.no_grad()
    def target(
        self, network: Network, z: Tensor, t: Tensor, condition: Condition, step: Tensor, velocity: Tensor
    ) -> Tensor:
        """v − d·(d/dt)u, without a gradient: what u(z, t, d) is regressed to over steps from t to t − d.

        Args:
            network: whose u is derived along (v, 1, 1) in (z, t, d).
            z, velocity: (B, …), v being the velocity at z.
            t, step: (B,); t ≥ step = d.
        """
        ones = torch.ones_like(t)
        _, rate = along(
            lambda z, t, step: self.velocity(network, z, t, condition, step), (z, t, step), (velocity, ones, ones)
        )
        return velocity - rows(step, z) * rate

    @torch.no_grad()
    def guided(self, network: Network, z: Tensor, t: Tensor, condition: Condition, velocity: Tensor) -> Tensor:
        """v_g (B, …): v itself where there is no guidance.

        Raises:
            ValueError: guidance without a condition.
        """
        if self.omega == 1 and self.kappa == 0:
            return velocity
        if condition is None:
            raise ValueError(
                f"mean_flow with omega={self.omega}, kappa={self.kappa} needs a condition; without one only "
                "omega=1, kappa=0 (no guidance) is possible"
            )
        calls = 1 if self.kappa == 0 else 2  # the null rows come last
        asked = {name: value[-calls * len(z) :] for name, value in with_null(condition).items()}
        here = (torch.cat([value] * calls) for value in (z, t, torch.zeros_like(t)))
        z2, t2, step = here
        out = self.velocity(network, z2, t2, asked, step).chunk(calls)
        guided = self.omega * velocity + (1 - self.omega - self.kappa) * out[-1]
        if self.kappa:
            guided = guided + self.kappa * out[0]
        inside = (t >= self.guided_from) & (t <= self.guided_to)
        drop = condition.get("drop")
        if drop is not None:
            inside = inside & ~(drop.all(1) if drop.dim() == 2 else drop)
        return torch.where(inside.reshape(-1, *(1,) * (z.dim() - 1)), guided, velocity)

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
        flow, group, count = self.flow, self._group, self._count
        if len(x) % group:
            raise ValueError(
                f"mean_flow with ratio={self.ratio:g} takes batches of a multiple of {group}, got {len(x)}"
            )
        dtype = working_dtype(x)
        noise = flow.noise(x, condition, draws)
        one, other = (flow.times(draws.uniform(name, x.shape[:1], dtype)) for name in ("time", "end"))
        condition = flow.dropped(condition, draws, len(x))
        t = torch.maximum(one, other)
        step = with_leading(torch.zeros_like(t), leading(t - torch.minimum(one, other), group, count), group, count)

        z = flow.mix(x, noise, t)
        raw = flow.raw(network, z, t, condition, step, dtype=x.dtype)
        own = flow.head.velocity(flow.path, raw, z, t)
        # After the pass with a gradient, so that autocast caches no weight without one.
        velocity = self.guided(network, z, t, condition, noise - x)
        inner = self.target(
            network,
            leading(z, group, count),
            leading(t, group, count),
            leading_condition(condition, group, count),
            leading(step, group, count),
            leading(velocity, group, count),
        )
        error = mean_square(own - with_leading(velocity, inner, group, count))
        logs = {"loss_mean_flow": leading(error.detach(), group, count).mean()}
        if count < group:
            logs["loss_flow"] = trailing(error.detach(), group, count).mean()
        weight = (error.detach() + self.c / x[0].numel()) ** -self.p
        return Loss(weight * error, logs, times=t, steps=step)

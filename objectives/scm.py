"""sCM: consistency models in continuous time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from objectives.base import Loss, Network
from objectives.condition import Condition
from objectives.densities import TanNormal
from objectives.draws import AnyDraws
from objectives.flow_matching import FlowMatching, mean_square, working_dtype
from objectives.heads import TrigFlow
from objectives.heads.base import rows
from objectives.over_flow import OverFlow
from objectives.paths import Trig
from objectives.tangents import along
from objectives.weightings import LearnedUncertainty, Unweighted

_TRIG = FlowMatching(path=Trig(), time=TanNormal(), head=TrigFlow())


class SCM(OverFlow):
    """sCM, consistency training in continuous time: f(z, t) is where the flow ends, so it does not change along it.

    On the path z = cos θ·x + σ_data·sin θ·ε, θ = πt/2, with f = cos θ·z − sin θ·σ_data·F(z/σ_data, t), the loss moves
    F by cos θ·df/dθ, the tangent along z' = dz/dθ = cos θ·σ_data·ε − sin θ·x:

        E e^−u(t)·‖F − sg[F + g/(|g| + c)]‖² + u(t),
        g = −cos²θ·(σ_data·F − z') − r·(cos θ sin θ·z + σ_data·cos θ sin θ·dF/dθ).

    dF/dθ is one forward-mode derivative of the network, without a gradient, taken with cos θ sin θ inside its
    direction; |g| is the root mean square over a sample's elements. Over the first `warmup` of training r rises from
    0, where the loss is the diffusion's, to 1. u is learned (EDM2's uncertainty) and belongs to the objective. A
    training step costs 5 passes, 3 being the one with a gradient (counted 4: the derivative is left out of counts).
    A network of its own time embedding should have ``time_scale=1``: the derivative grows with its frequencies.
    Sampled by noise being added between steps (the solver ``consistency``).
    Source: Lu and Song 2024 (Simplifying, stabilizing and scaling continuous-time consistency models), eq. 2 to 8,
    algorithm 1.

    Where this departs from the paper: the network is told the path time 2θ/π, not θ; the warm-up is a share of
    training, theirs being 10,000 steps; the norm of g is per element, as in the published training scripts, so that c
    means the same at every size; the prior weight 1/(σ_data·tan θ), which those scripts multiply the error by, is left
    to u, whose best value takes it in; training begins anew unless ``start`` names a diffusion model (a run of this
    flow), from which the paper begins.

    Args:
        flow: path trig, head trig, and the density of the times.
        warmup: share of training over which r rises, in [0, 1]; 0 for none. One too short makes the tangent, logged as
            loss_tangent, grow several times.
        c: the tangent's normalisation, positive.
        normalised: whether the tangent is normalised.
        learned: whether there is a learned uncertainty u.

    Raises:
        ValueError: an argument out of range; a flow on another path, of another head, or weighted.
    """

    solvers: tuple[str, ...] = ("consistency",)
    version: ClassVar[int] = 1

    def __init__(
        self,
        flow: FlowMatching = _TRIG,
        warmup: float = 0.1,
        c: float = 0.1,
        normalised: bool = True,
        learned: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(flow.path, Trig) or not isinstance(flow.head, TrigFlow):
            raise ValueError(f"scm needs a flow on the path trig with the head trig, got {flow.path} with {flow.head}")
        if not isinstance(flow.weighting, Unweighted):
            raise ValueError(f"scm has a weight of its own and takes no weighting, got {flow.weighting}")
        if not 0 <= warmup <= 1 or not 0 < c < math.inf:
            raise ValueError(f"scm takes a warmup in [0, 1] and a positive finite c, got warmup={warmup}, c={c}")
        self.flow, self.warmup, self.c, self.normalised, self.learned = flow, warmup, c, normalised, learned
        self.weighting = LearnedUncertainty() if learned else Unweighted()
        self.path, self._sigma_data = flow.path, flow.path.sigma_data
        self.needs = replace(flow.needs, jvp=True)

    @property
    def batch_multiple(self) -> int:
        return self.flow.batch_multiple

    @property
    def notation(self) -> str:
        return "scm" if self.flow.notation == _TRIG.notation else f"scm/{self.flow.notation}"

    def ramp(self, progress: float) -> float:
        """r at a share of training."""
        return min(1.0, progress / self.warmup) if self.warmup > 0 else 1.0

    @torch.no_grad()
    def tangent(
        self, network: Network, z: Tensor, t: Tensor, condition: Condition, slope: Tensor, *, ramp: float
    ) -> Tensor:
        """g (B, …), before it is normalised; cos θ·df/dθ where ramp = 1.

        Args:
            network: whose F is derived.
            z, slope: (B, …), slope being dz/dθ.
            t: (B,).
            ramp: r.
        """
        sigma_data = self._sigma_data
        cosine, sine = rows(self.path.a(t), z), rows(torch.sin(0.5 * math.pi * t), z)
        both = self.path.a(t) * torch.sin(0.5 * math.pi * t)
        raw, rate = along(
            lambda fed, label: network(fed, label, condition),
            (z / sigma_data, self.flow.head.label(self.path, t).to(z.dtype)),
            (rows(both, z) * slope / sigma_data, (2 / math.pi * both).to(z.dtype)),
        )
        change = cosine * sine * z + sigma_data * rate.to(z.dtype)
        return -(cosine**2) * (sigma_data * raw.to(z.dtype) - slope) - ramp * change

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
        noise = flow.noise(x, condition, draws)
        t = flow.times(draws.uniform("time", x.shape[:1], working_dtype(x)))
        condition = flow.dropped(condition, draws, len(x))
        z = flow.mix(x, noise, t)
        slope = rows(self.path.a(t), z) * self._sigma_data * noise - rows(torch.sin(0.5 * math.pi * t), z) * x
        # Before the pass with a gradient, so that not both need their memory at once.
        g = self.tangent(network, z, t, condition, slope, ramp=self.ramp(progress))
        size = mean_square(g)
        if self.normalised:
            g = g / rows(torch.sqrt(size) + self.c, g)
        own = flow.raw(network, z, t, condition, dtype=x.dtype)
        error = mean_square(own - (own.detach() + g))
        return Loss(self.weighting.weigh(error, self.path, flow.head, t), {"loss_tangent": size.mean()}, times=t)

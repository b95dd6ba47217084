"""Consistency training: a network that tells from any noise level where the flow ends, learned without a teacher."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from objectives.base import Loss, Network, count_steps
from objectives.condition import Condition
from objectives.consistency import consistency_function, neighbours, pseudo_huber, stage_of
from objectives.densities import LogitNormal
from objectives.draws import AnyDraws
from objectives.flow_matching import FlowMatching, mean_square, working_dtype
from objectives.heads import EDMPreconditioned
from objectives.over_flow import OverFlow
from objectives.paths import VarianceExploding
from objectives.weightings import Unweighted

_EDM = FlowMatching(path=VarianceExploding(), time=LogitNormal(-1.1, 2.0), head=EDMPreconditioned())
_MOST = 2**20


class ConsistencyTraining(OverFlow):
    """Consistency training (iCT): f(z, σ) is where the flow carries z, and it is the same at two levels of noise.

        E 1/(σ_{i+1} − σ_i)·distance(f(x + σ_{i+1}·ε, σ_{i+1}), sg f(x + σ_i·ε, σ_i)), f = c_skip·z + c_out·F,

    the same x and ε at both levels; f is z itself at σ_min. The levels are Karras' grid of N intervals, and N doubles
    from s0 to s1 as training proceeds; i is drawn so that ln σ is about N(−1.1, 2²): the flow's own density, snapped
    to the grid. distance is the pseudo-Huber √(m + c²) − c of the mean square m, with c = 0.00054: theirs divided by
    the root of the number of elements. A training step costs 4 passes, 3 being the one with a gradient. On the path
    z = x + σ·ε; sampled by noise being added between steps (the solver ``consistency``).
    Source: Song et al. 2023 (consistency models), algorithm 3; Song and Dhariwal 2023 (iCT), §3 and table 1.

    Where this departs from the paper: dropout, theirs being 0.3 with the same mask at both levels, is none, since no
    backbone here has any; the noise label is EDM's ¼·ln σ; N follows the share of training done, K being its whole
    length; levels below σ_min (half a per cent of their density) count for the first interval; several sampling steps
    begin at Karras' grid of as many levels, where the paper searches for them. The gradient's expectation is zero at
    the exact f only as N grows, since at a finite one x + σ_i·ε is off the flow's path by O(1/N²).

    Args:
        flow: path variance_exploding, head edm, and the density of the levels.
        s0, s1: the intervals that training begins and ends with; 1 ≤ s0 ≤ s1.
        distance: "pseudo_huber", or "square", the mean square of the consistency models' first paper.
        c: pseudo-Huber's constant, positive.

    Raises:
        ValueError: an argument out of range; a flow on another path, of another head, or weighted.
    """

    solvers: tuple[str, ...] = ("consistency",)
    version: ClassVar[int] = 1

    def __init__(
        self,
        flow: FlowMatching = _EDM,
        s0: int = 10,
        s1: int = 1280,
        distance: Literal["pseudo_huber", "square"] = "pseudo_huber",
        c: float = 0.00054,
    ) -> None:
        super().__init__()
        if not isinstance(flow.path, VarianceExploding) or not isinstance(flow.head, EDMPreconditioned):
            raise ValueError(
                "consistency_training needs a flow on the path variance_exploding with the head edm, "
                f"got {flow.path} with {flow.head}"
            )
        if not isinstance(flow.weighting, Unweighted):
            raise ValueError(f"consistency_training takes no weighting beside its own, got {flow.weighting}")
        if not 1 <= s0 <= s1 <= _MOST:
            raise ValueError(f"consistency_training takes 1 ≤ s0 ≤ s1 ≤ {_MOST}, got s0={s0}, s1={s1}")
        if distance not in ("pseudo_huber", "square"):
            raise ValueError(f"consistency_training's distance is one of pseudo_huber, square; got {distance!r}")
        if not 0 < c < math.inf:
            raise ValueError(f"consistency_training takes a positive finite c, got {c}")
        self.flow, self.s0, self.s1, self.distance, self.c = flow, s0, s1, distance, c
        self.path, self._path, self._sigma_data = flow.path, flow.path, flow.head.sigma_data
        self.needs = flow.needs

    @property
    def batch_multiple(self) -> int:
        return self.flow.batch_multiple

    @property
    def notation(self) -> str:
        usual = self.flow.notation == _EDM.notation
        return "consistency_training" if usual else f"consistency_training/{self.flow.notation}"

    def function(
        self, network: Network, z: Tensor, t: Tensor, condition: Condition, *, dtype: torch.dtype | None = None
    ) -> Tensor:
        """(B, …) f(z, σ) at path times t (B,): where the flow ends that passes z. The network is fed in `dtype`."""
        raw = self.flow.raw(network, z, t, condition, dtype=dtype)
        return consistency_function(raw, z, self._path.b(t), self._path, self._sigma_data)

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
        flow, path, dtype = self.flow, self._path, working_dtype(x)
        noise = flow.noise(x, condition, draws)
        drawn = path.b(flow.times(draws.uniform("time", x.shape[:1], dtype)))
        condition = flow.dropped(condition, draws, len(x))
        below, above = neighbours(drawn, path, stage_of(progress, self.s0, self.s1))
        t, earlier = path.time(above), path.time(below)
        own = self.function(network, flow.mix(x, noise, t), t, condition, dtype=x.dtype)
        with torch.no_grad():
            target = self.function(network, flow.mix(x, noise, earlier), earlier, condition, dtype=x.dtype)
        square = mean_square(own - target)
        distance = pseudo_huber(square, self.c) if self.distance == "pseudo_huber" else square
        return Loss(distance / (above - below), {"loss_consistency": square.detach().mean()}, times=t)

    def predict(
        self, network: Network, z: Tensor, t: Tensor, condition: Condition, step: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(f, what of z is noise if f is the data)."""
        x = self.function(network, z, t, condition)
        return x, (z - x) / self._path.b(t).to(z.dtype).reshape(-1, *(1,) * (z.dim() - 1))

    def velocity(
        self, network: Network, z: Tensor, t: Tensor, condition: Condition, step: Tensor | None = None
    ) -> Tensor:
        """The mean of dz/dσ from σ down to 0."""
        return self.predict(network, z, t, condition)[1]

    def time_grid(self, steps: int) -> Tensor:
        """Karras' grid of steps + 1 levels, whose last, σ_min, is left out: from there nothing is left to do."""
        grid = self.path.grid(count_steps(steps) + 1)
        return torch.cat((grid[:-2], grid[-1:]))

"""Data whose every conditional expectation is known: the exact network of any objective, with nothing trained."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from objectives import exact, exact_distilled
from objectives.base import Network, Objective
from objectives.condition import Condition
from objectives.consistency_distillation import ConsistencyDistillation
from objectives.consistency_training import ConsistencyTraining
from objectives.flow_matching import FlowMatching
from objectives.heads.base import rows
from objectives.live_reflow import LiveReflow
from objectives.mean_flow import MeanFlow
from objectives.paths import Path
from objectives.progressive_distillation import ProgressiveDistillation
from objectives.reflow import Reflow
from objectives.scm import SCM
from objectives.shortcut import Shortcut


class GaussianMixture:
    """x ~ Σ_k w_k·N(μ_k, s_k²·I) in D dimensions, and what is exactly known of it along a path z = a·x + b·ε.

    Args:
        means: (K, D).
        stds: (K,), positive.
        weights: (K,), positive; normalised here. Equal where None.

    Raises:
        ValueError: shapes that do not fit, a std or weight that is not positive.
    """

    def __init__(self, means: Tensor, stds: Tensor, weights: Tensor | None = None) -> None:
        weights = torch.ones_like(stds) if weights is None else weights
        if means.dim() != 2 or stds.shape != means.shape[:1] or weights.shape != stds.shape:
            raise ValueError(
                "a mixture takes means (K, D), stds (K,), weights (K,), got "
                f"{tuple(means.shape)}, {tuple(stds.shape)}, {tuple(weights.shape)}"
            )
        if not bool((stds > 0).all() and (weights > 0).all()):
            raise ValueError("the stds and weights of a mixture must be positive")
        self.means, self.stds = means.to(torch.float64), stds.to(torch.float64)
        self.weights = weights.to(torch.float64) / weights.sum()

    def sample(self, uniforms: Tensor, noise: Tensor) -> Tensor:
        """(B, D) data points: components chosen by uniforms (B,), spread by standard normal noise (B, D)."""
        edges = self.weights.cumsum(0)[:-1].to(uniforms)
        component = torch.bucketize(uniforms, edges)
        return self.means.to(noise)[component] + self.stds.to(noise)[component, None] * noise

    def _parts(self, z: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Per row and component: offsets z − a·μ (B, K, D), variances a²s² + b² (B, K), log joint densities (B, K)."""
        offsets = z[:, None, :] - rows(a, z[:, None, :]) * self.means.to(z)
        variances = (a[:, None] * self.stds.to(a)) ** 2 + b[:, None] ** 2
        exponent = -0.5 * (offsets**2).sum(-1) / variances.to(z)
        scale = 0.5 * z.shape[1] * torch.log(2 * math.pi * variances)
        return offsets, variances.to(z), self.weights.to(z).log() + exponent - scale.to(z)

    def log_prob(self, z: Tensor, a: Tensor | None = None, b: Tensor | None = None) -> Tensor:
        """(B,) ln p(z_t) where z_t = a·x + b·ε; of the data where a and b are not given."""
        a = z.new_ones(len(z)) if a is None else a
        b = z.new_zeros(len(z)) if b is None else b
        return self._parts(z, a, b)[2].logsumexp(1)

    def posterior_mean(self, z: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """(B, D) E[x | z] where z = a·x + b·ε; a, b are (B,)."""
        offsets, variances, joint = self._parts(z, a, b)
        gain = a.to(z)[:, None] * self.stds.to(z) ** 2 / variances
        each = self.means.to(z) + gain[..., None] * offsets
        return (joint.softmax(1)[..., None] * each).sum(1)

    def posterior_noise(self, z: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """(B, D) E[ε | z] where z = a·x + b·ε; a, b are (B,)."""
        offsets, variances, joint = self._parts(z, a, b)
        each = (b.to(z)[:, None] / variances)[..., None] * offsets
        return (joint.softmax(1)[..., None] * each).sum(1)

    def velocity(self, path: Path, z: Tensor, t: Tensor) -> Tensor:
        """(B, D) dz/dτ of the marginal flow at path times t (B,)."""
        da, db = path.rates(t)
        a, b = path.a(t), path.b(t)
        return rows(da, z) * self.posterior_mean(z, a, b) + rows(db, z) * self.posterior_noise(z, a, b)

    def flow_map(self, path: Path, z: Tensor, t: Tensor, end: Tensor, *, steps: int = 400) -> Tensor:
        """(B, D) where the marginal flow carries z from path times t (B,) to path times `end` (B,).

        Every path is the variance-preserving one up to a scale: y = z/√(a² + b²) obeys
        dy/dφ = cos φ·ε̂ − sin φ·x̂ with φ = atan(b/a), smooth and bounded throughout. This is integrated in `steps`
        steps of the classical Runge–Kutta method; with 400 the error is about 1e-10.
        """
        a, b = path.a(t), path.b(t)
        end_a, end_b = path.a(end), path.b(end)
        angle = torch.atan2(b, a)
        change = (torch.atan2(end_b, end_a) - angle) / steps

        def slope(y: Tensor, phi: Tensor) -> Tensor:
            cosine, sine = torch.cos(phi), torch.sin(phi)
            mean, noise = self.posterior_mean(y, cosine, sine), self.posterior_noise(y, cosine, sine)
            return rows(cosine, y) * noise - rows(sine, y) * mean

        y, h = z / rows(torch.hypot(a, b), z), rows(change, z)
        for i in range(steps):
            phi = angle + i * change
            k1 = slope(y, phi)
            k2 = slope(y + h / 2 * k1, phi + change / 2)
            k3 = slope(y + h / 2 * k2, phi + change / 2)
            k4 = slope(y + h * k3, phi + change)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return y * rows(torch.hypot(end_a, end_b), z)

    def network(self, objective: Objective) -> Network:
        """The exact network: the raw output that the objective's head asks for.

        For flow matching the head's reading of (E[x|z], E[ε|z]). For a shortcut model its own fixed point: at the
        finest label the instantaneous velocity, at a coarser one the mean over the finest Euler steps in it. For
        MeanFlow the mean velocity, for consistency models the flow's end, by numerical integration. For distilled
        models what the teacher's Euler steps come to: with progressive distillation after its last phase. For reflow
        the flow of pairs that are independent, as data and noise are; for live reflow both of its flows.

        Raises:
            ValueError: an objective whose fixed point is not known here.
        """
        if isinstance(objective, Shortcut):
            return exact.shortcut(lambda z, t, condition: self.velocity(objective.path, z, t), objective)
        if isinstance(objective, MeanFlow):
            return exact.mean_flow(self, objective)
        if isinstance(objective, ConsistencyTraining):
            return exact.consistency_training(self, objective)
        if isinstance(objective, SCM):
            return exact.scm(self, objective)
        if isinstance(objective, ProgressiveDistillation):
            return exact_distilled.progressive_distillation(self, objective)
        if isinstance(objective, ConsistencyDistillation):
            return exact_distilled.consistency_distillation(self, objective)
        if isinstance(objective, LiveReflow):
            return exact_distilled.live_reflow(self, objective)
        if isinstance(objective, Reflow):
            return self._flow(objective.flow)
        if isinstance(objective, FlowMatching):
            return self._flow(objective)
        raise ValueError(f"the oracle knows no network of {type(objective).__name__}")

    def _flow(self, flow: FlowMatching) -> Network:
        def network(z: Tensor, t: Tensor, condition: Condition = None, step: Tensor | None = None) -> Tensor:
            time = flow.label_time(t)
            scale = flow.head.scale(flow.path, time)
            z = z if scale is None else z / rows(scale, z)
            a, b = flow.path.a(time), flow.path.b(time)
            return flow.head.target(flow.path, self.posterior_mean(z, a, b), self.posterior_noise(z, a, b), time)

        return network

"""The kit for objectives."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from objectives.base import Network, Objective, stand_ins
from objectives.conformance.common import (
    EXACT,
    LEVEL,
    STATISTICAL,
    close,
    draws,
    mixture,
    to_uniforms,
    uniformity,
    zero_mean,
)
from objectives.draws import Draws
from objectives.oracle import GaussianMixture
from objectives.sampling import sample


class _Perturbed:
    """A network plus Σ_j θ_nj·φ_j(z, t), θ = 0: the loss's gradient in θ is its residual's product with φ_j."""

    def __init__(self, network: Network, rows: int, dimensions: int) -> None:
        self.network = network
        self.theta = torch.zeros(rows, dimensions + 2, dimensions, dtype=torch.float64, requires_grad=True)

    def __call__(self, z: Tensor, t: Tensor, *rest: Tensor | None) -> Tensor:
        if not torch.is_grad_enabled():  # a target, perhaps of some of the rows: θ is zero
            return self.network(z, t, *rest)
        features = torch.cat((torch.ones_like(z[:, :1]), torch.tanh(t)[:, None], torch.tanh(z)), dim=1)
        return self.network(z, t, *rest) + (features[:, :, None] * self.theta).sum(1)


def paired(objective: Objective, random: Draws) -> Draws:
    """The draws; for an objective that needs pairs with their own noise as the pairs', which is an independent one."""
    if not objective.needs.pairs:
        return random
    return random.given(noise=random.normal("noise", (len(random.index), 2), torch.float64))


class TinyNetwork(nn.Module):
    """A perceptron on (z, t, step) for the kits: enough for dtypes, shapes and gradients."""

    def __init__(self, dimensions: int = 2) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(dimensions + 2, 64), nn.Tanh(), nn.Linear(64, dimensions))
        for parameter in self.parameters():
            parameter.data = 0.5 * torch.randn(parameter.shape, generator=generator)

    def forward(self, z: Tensor, t: Tensor, condition: object = None, step: Tensor | None = None) -> Tensor:
        step = torch.zeros_like(t) if step is None else step
        return self.layers(torch.cat((z, t[:, None], step[:, None]), dim=1))


class _Labelled(TinyNetwork):
    """The perceptron in float64, its output scaled by 1.5 + label/2 where a row has a label that is not dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.double()

    def forward(self, z: Tensor, t: Tensor, condition: Any = None, step: Tensor | None = None) -> Tensor:
        out = super().forward(z, t, condition, step)
        if condition is None:
            return out
        drop = condition.get("drop", torch.zeros(len(z), dtype=torch.bool))
        drop = drop.all(dim=1) if drop.dim() == 2 else drop
        return out * torch.where(drop, 1.0, 1.5 + 0.5 * condition["label"])[:, None]


class ObjectiveConformance:
    """Rules 3, 4, 6 and 7 for an objective whose exact network the oracle knows."""

    steps: int = 64
    """Solver steps at which sampling with the exact network must meet the data's distribution."""

    rows: int = 16_384
    """Samples of the test of the expected gradient."""

    progress: float = 0.0
    """The share of the training at whose end the exact network stands, where the loss depends on it."""

    def objectives(self) -> st.SearchStrategy[Objective]:
        """The objectives to test."""
        raise NotImplementedError

    def unweighted(self) -> st.SearchStrategy[Objective]:
        """The objectives whose expected gradient must be zero: weights that depend on the residual are off in them."""
        return self.objectives()

    def network(self, objective: Objective, data: GaussianMixture) -> Network:
        """The exact network; the oracle's unless an author knows it for an objective of their own."""
        return data.network(objective)

    def teacher(self, objective: Objective, data: GaussianMixture) -> Network:
        """The exact network of the teacher: the same, unless an objective learns from another."""
        return self.network(objective, data)

    def gradients(self, objective: Objective, network: Network) -> Tensor:
        """(rows, J) per-sample gradients of the loss around a network, on the kit's mixture."""
        data, rows = mixture(), self.rows
        random = draws(rows)
        x = data.sample(random.uniform("component", (rows,)), random.normal("data", (rows, 2), torch.float64))
        perturbed = _Perturbed(network, rows, 2)
        parts = stand_ins(objective, self.network(objective, data)) | {"teacher": self.teacher(objective, data)}
        loss = objective.loss(perturbed, x, None, paired(objective, random), progress=self.progress, **parts)
        (gradient,) = torch.autograd.grad(loss.per_sample.sum(), perturbed.theta)
        return gradient.flatten(1)

    @STATISTICAL
    @given(st.data())
    def test_expected_gradient_is_zero_at_the_exact_network(self, data: st.DataObject) -> None:
        objective = data.draw(self.unweighted())
        assert zero_mean(self.gradients(objective, self.network(objective, mixture()))) > LEVEL
        wrong = GaussianMixture(1.2 * mixture().means, mixture().stds, mixture().weights)
        assert zero_mean(self.gradients(objective, self.network(objective, wrong))) < LEVEL

    @STATISTICAL
    @given(st.data())
    def test_sampling_with_the_exact_network_meets_the_data(self, data: st.DataObject) -> None:
        objective, rows = data.draw(self.objectives()), 6_000
        network, noise = self.network(objective, mixture()), draws(rows).normal("noise", (rows, 2), torch.float64)
        for factor, follows in ((1.0, True), (1.1, False)):
            out = sample(objective, network, factor * noise, None, steps=self.steps, draws=draws(rows))
            assert (uniformity(to_uniforms(mixture(), out), 6) > LEVEL) == follows

    @EXACT
    @given(st.data())
    def test_rows_depend_on_their_position_alone(self, data: st.DataObject) -> None:
        objective, network = data.draw(self.objectives()), TinyNetwork().double()
        rows = 4 * objective.batch_multiple
        x, positions = draws(rows).normal("data", (rows, 2), torch.float64), torch.arange(rows)

        def losses(some: Tensor) -> Tensor:
            random = paired(objective, Draws(3, 5, some, rows))
            return objective.loss(network, x[some], None, random, **stand_ins(objective, network)).per_sample

        parts = torch.cat([losses(part) for part in positions.split(objective.batch_multiple)])
        close(parts, losses(positions), 1e-10)

    @EXACT
    @given(st.data())
    def test_the_condition_is_learned(self, data: st.DataObject) -> None:
        """What the network is told of a row changes its loss, and nothing else of the batch's does."""
        objective, rows = data.draw(self.objectives()), 64 * 12
        rows -= rows % objective.batch_multiple
        group = torch.arange(rows) // objective.batch_multiple
        x, network = draws(rows).normal("data", (rows, 2), torch.float64), _Labelled()

        def losses(label: Tensor) -> Tensor:
            random = paired(objective, draws(rows))
            return objective.loss(network, x, {"label": label}, random, **stand_ins(objective, network)).per_sample

        told = torch.zeros(rows, dtype=torch.long)
        others = group % 2
        changed = losses(told) != losses(others)
        assert float(changed[others == 1].double().mean()) > 0.5
        assert not bool(changed[others == 0].any())

    @EXACT
    @given(st.data(), st.booleans())
    def test_prediction_and_velocity_are_of_the_same_output(self, data: st.DataObject, whole: bool) -> None:
        """z = a·x̂ + b·ε̂ and dz/dτ = (da/dτ)·x̂ + (db/dτ)·ε̂, whatever step is asked for."""
        objective, network, rows = data.draw(self.objectives()), _Labelled(), 32
        path, random = objective.path, draws(rows)
        t = path.t_max * (0.05 + 0.9 * random.uniform("time", (rows,), torch.float64))
        step = t if whole else None
        z, condition = random.normal("data", (rows, 2), torch.float64), {"label": torch.arange(rows) % 3}
        x, noise = objective.predict(network, z, t, condition, step)
        a, b, da, db = (value[:, None] for value in (path.a(t), path.b(t), *path.rates(t)))
        close(a * x + b * noise, z, 1e-8)
        close(da * x + db * noise, objective.velocity(network, z, t, condition, step), 1e-8)
        for other in (None, {"label": condition["label"] + 1}):
            assert bool((objective.predict(network, z, t, other, step)[0] != x).any(dim=1).all())

    @EXACT
    @given(st.data())
    def test_loss_in_bf16_is_near_float32(self, data: st.DataObject) -> None:
        objective, network, rows = data.draw(self.objectives()), TinyNetwork(), 64 * 12
        rows -= rows % objective.batch_multiple
        x = draws(rows).normal("data", (rows, 2))
        random, parts = paired(objective, draws(rows)), stand_ins(objective, network)
        exact = objective.loss(network, x, None, random, **parts).per_sample
        with torch.autocast("cpu", torch.bfloat16):
            loss = objective.loss(network, x, None, random, **parts).per_sample
        assert loss.dtype == torch.float32
        assert loss.shape == (rows,)
        assert bool(loss.isfinite().all())
        close(loss.mean(), exact.mean(), 2e-2)
        gradients = torch.autograd.grad(loss.mean(), list(network.parameters()))
        assert all(bool(gradient.isfinite().all()) and bool(gradient.any()) for gradient in gradients)

    @EXACT
    @given(st.data(), st.integers(1, 8))
    def test_time_grid_ends_at_the_data(self, data: st.DataObject, steps: int) -> None:
        objective = data.draw(self.objectives())
        grid = objective.time_grid(steps)
        assert grid.shape == (steps + 1,)
        assert grid.dtype == torch.float64
        assert bool((grid.diff() < 0).all())
        assert float(grid[-1]) == 0
        for illegal in (0, -1):
            try:
                objective.time_grid(illegal)
            except ValueError:
                continue
            raise AssertionError(f"time_grid({illegal}) was not refused")

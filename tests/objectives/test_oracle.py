"""The oracle: against torch's distributions, Tweedie's formula and a Gaussian's closed form."""

from __future__ import annotations

import pytest
import torch
from torch import distributions as D

from objectives import FlowMatching, Shortcut, formulation
from objectives.conformance.common import LEVEL, draws, mixture, to_uniforms, uniformity
from objectives.oracle import GaussianMixture
from objectives.paths import Straight, VarianceExploding

ROWS = 24
Z = draws(ROWS).normal("z", (ROWS, 2), torch.float64)
T = draws(ROWS).uniform("t", (ROWS,), torch.float64)
PATHS = [Straight(), VarianceExploding()]


def _marginal(data, a, b):
    spread = ((a[:, None] * data.stds) ** 2 + b[:, None] ** 2).sqrt()
    parts = D.Independent(D.Normal(a[:, None, None] * data.means, spread[..., None].expand(-1, -1, 2)), 1)
    return D.MixtureSameFamily(D.Categorical(data.weights.expand(len(a), -1)), parts)


@pytest.mark.parametrize("path", PATHS)
def test_density_and_posteriors_agree_with_tweedies_formula(path):
    data, a, b = mixture(), path.a(T), path.b(T)
    z = Z.clone().requires_grad_()
    log_prob = _marginal(data, a, b).log_prob(z)
    (score,) = torch.autograd.grad(log_prob.sum(), z)
    torch.testing.assert_close(data.log_prob(Z, a, b), log_prob.detach())
    noise, mean = data.posterior_noise(Z, a, b), data.posterior_mean(Z, a, b)
    torch.testing.assert_close(noise, -b[:, None] * score)
    torch.testing.assert_close(a[:, None] * mean + b[:, None] * noise, Z)


def test_the_datas_own_density():
    one, zero = torch.ones(ROWS).double(), torch.zeros(ROWS).double()
    torch.testing.assert_close(mixture().log_prob(Z), _marginal(mixture(), one, zero).log_prob(Z))


@pytest.mark.parametrize(("factor", "follows"), [(1.0, True), (1.1, False)])
def test_samples_follow_the_mixture(factor, follows):
    random = draws(6_000)
    x = mixture().sample(random.uniform("u", (6_000,)), factor * random.normal("n", (6_000, 2), torch.float64))
    assert (uniformity(to_uniforms(mixture(), x), 6) > LEVEL) == follows


@pytest.mark.parametrize("path", PATHS)
def test_flow_map_of_one_gaussian_is_its_closed_form(path):
    data = GaussianMixture(torch.tensor([[0.7, -1.2]]), torch.tensor([0.4]))
    t, end = path.t_max * T, path.t_max * T.flip(0)

    def centre_and_spread(time):
        a, b = path.a(time)[:, None], path.b(time)[:, None]
        return a * data.means, ((a * data.stds) ** 2 + b**2).sqrt()

    (centre, spread), (end_centre, end_spread) = centre_and_spread(t), centre_and_spread(end)
    expected = end_centre + end_spread / spread * (Z - centre)
    torch.testing.assert_close(data.flow_map(path, Z, t, end), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("path", PATHS)
def test_flow_map_follows_the_velocity_and_composes(path):
    data, t = mixture(), 0.3 + 0.5 * T
    small = 1e-4
    change = data.flow_map(path, Z, t, t - small) - data.flow_map(path, Z, t, t + small)
    slope = change / (path.clock(t - small) - path.clock(t + small))[:, None]
    torch.testing.assert_close(slope, data.velocity(path, Z, t), rtol=1e-6, atol=1e-6)
    whole = data.flow_map(path, Z, t, t / 3)
    halves = data.flow_map(path, data.flow_map(path, Z, t, t / 2), t / 2, t / 3)
    torch.testing.assert_close(halves, whole, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["rf", "edm(-1.20,1.20)"])
def test_the_exact_network_predicts_the_posteriors(name):
    data, objective = mixture(), formulation(name)
    t = objective.path.t_max * T
    x, noise = objective.predict(data.network(objective), Z, t, None)
    a, b = objective.path.a(t), objective.path.b(t)
    torch.testing.assert_close(x, data.posterior_mean(Z, a, b), rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(noise, data.posterior_noise(Z, a, b), rtol=1e-7, atol=1e-7)
    velocity = objective.velocity(data.network(objective), Z, t, None)
    torch.testing.assert_close(velocity, data.velocity(objective.path, Z, t), rtol=1e-7, atol=1e-7)


def test_wrong_mixtures_and_unknown_objectives_are_refused():
    means = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="stds"):
        GaussianMixture(means, torch.ones(3))
    with pytest.raises(ValueError, match="positive"):
        GaussianMixture(means, torch.tensor([1.0, 0.0]))

    class Other(FlowMatching.__base__):
        notation = loss = loss_at = predict = velocity = time_grid = None

    with pytest.raises(ValueError, match="Other"):
        mixture().network(Other())


def test_a_shortcuts_exact_network_takes_one_finest_step_for_each_that_its_label_holds():
    data, shortcut = mixture(), Shortcut(M=32)
    network, finest = data.network(shortcut), torch.full((ROWS,), 1 / 32, dtype=torch.float64)
    t = 0.5 + 0.5 * T
    here = data.velocity(Straight(), Z, t)
    torch.testing.assert_close(network(Z, t, None, finest), here)
    torch.testing.assert_close(network(Z, t), here)
    after = data.velocity(Straight(), Z - here / 32, t - 1 / 32)
    torch.testing.assert_close(network(Z, t, None, 2 * finest), (here + after) / 2)


def test_weights_are_equal_where_none_are_given_and_need_not_add_up():
    means, stds = mixture().means, mixture().stds
    plain, scaled = GaussianMixture(means, stds), GaussianMixture(means, stds, torch.full((3,), 5.0))
    torch.testing.assert_close(plain.log_prob(Z), scaled.log_prob(Z), rtol=1e-12, atol=0)
    torch.testing.assert_close(plain.weights, torch.full((3,), 1 / 3, dtype=torch.float64), rtol=1e-12, atol=0)

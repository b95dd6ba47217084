"""sCM: its tangent, the warm-up, the normalisation, the learned uncertainty."""

from __future__ import annotations

import math

import pytest
import torch

from objectives import SCM, Draws, FixedDraws, FlowMatching, Needs, exact, sample
from objectives.conformance.common import mixture
from objectives.conformance.objectives import TinyNetwork
from objectives.densities import TanNormal
from objectives.heads import TrigFlow
from objectives.paths import Trig
from objectives.weightings import MinSNR

ROWS = 16


def _batch(rows=ROWS, step=0):
    draws = Draws(5, step, torch.arange(rows))
    noise = draws.normal("data", (rows, 2), torch.float64)
    return mixture().sample(draws.uniform("component", (rows,)), noise), draws


def _plain(**options):
    """The tangent alone, its weights switched off."""
    return SCM(**{"warmup": 0.0, "normalised": False, "learned": False, **options})


def _marginal(objective, x, draws):
    """Draws and data whose dz/dθ is the marginal one, at the same z and the same times."""
    rows, flow = len(x), objective.flow
    uniforms = draws.uniform("time", (rows,), torch.float64)
    t = flow.times(uniforms)
    z = flow.mix(x, draws.normal("noise", (rows, 2), torch.float64), t)
    a, b = flow.path.a(t), flow.path.b(t)
    return mixture().posterior_mean(z, a, b), FixedDraws(noise=mixture().posterior_noise(z, a, b), time=uniforms)


@pytest.mark.parametrize("sigma_data", [0.5, 1.3])
def test_the_tangent_vanishes_at_the_exact_function(sigma_data):
    objective = _plain(flow=FlowMatching(path=Trig(sigma_data=sigma_data), time=TanNormal(), head=TrigFlow()))
    network = exact.scm(mixture(), objective, steps=150)
    x, draws = _batch()
    mean, fixed = _marginal(objective, x, draws)
    assert float(objective.loss(network, mean, None, fixed).per_sample.max().sqrt()) < 1e-8
    assert float(objective.loss(network, x, None, draws).per_sample.max().sqrt()) > 1e-2


def test_before_the_warm_up_the_diffusions_network_has_no_tangent():
    objective = _plain(warmup=0.5)
    denoiser, consistency = mixture().network(objective.flow), exact.scm(mixture(), objective, steps=20)
    x, draws = _batch()
    mean, fixed = _marginal(objective, x, draws)
    for network, zero in ((denoiser, True), (consistency, False)):
        largest = float(objective.loss(network, mean, None, fixed, progress=0.0).per_sample.max().sqrt())
        assert (largest < 1e-8) == zero


@pytest.mark.parametrize("fault", ["time", "z"])
def test_a_derivative_with_a_part_left_out_is_not_zero_there(fault, monkeypatch):
    import objectives.scm as module

    real = module.along

    def planted(function, primals, tangents):
        left = [0 * s if name == fault else s for name, s in zip(("z", "time"), tangents, strict=True)]
        return real(function, primals, left)

    objective = _plain()
    x, draws = _batch()
    mean, fixed = _marginal(objective, x, draws)
    monkeypatch.setattr(module, "along", planted)
    assert (
        float(objective.loss(exact.scm(mixture(), objective, steps=20), mean, None, fixed).per_sample.max().sqrt())
        > 1e-2
    )


def test_the_tangent_is_the_change_of_f_along_the_path():
    """g = cos θ·df/dθ, by a difference quotient of f itself."""
    objective, network = _plain(), TinyNetwork().double()
    x, draws = _batch()
    noise = draws.normal("noise", (ROWS, 2), torch.float64)
    t = 0.1 + 0.8 * draws.uniform("time", (ROWS,), torch.float64)
    theta, h = 0.5 * math.pi * t, 1e-5

    def f(theta):
        z = theta.cos()[:, None] * x + 0.5 * theta.sin()[:, None] * noise
        raw = network(z / 0.5, 2 / math.pi * theta)
        return theta.cos()[:, None] * z - theta.sin()[:, None] * 0.5 * raw

    z = objective.flow.mix(x, noise, t)
    slope = theta.cos()[:, None] * 0.5 * noise - theta.sin()[:, None] * x
    raw = network(z / 0.5, t)
    g = objective.tangent(network, z, t, None, slope, ramp=1.0)
    assert not g.requires_grad
    torch.testing.assert_close(g, theta.cos()[:, None] * (f(theta + h) - f(theta - h)) / (2 * h), rtol=1e-6, atol=1e-7)
    start = objective.tangent(network, z, t, None, slope, ramp=0.0)
    torch.testing.assert_close(start, -(theta.cos()[:, None] ** 2) * (0.5 * raw - slope))
    middle = objective.tangent(network, z, t, None, slope, ramp=0.25)
    torch.testing.assert_close(middle, start + 0.25 * (g - start))


def test_the_loss_moves_the_network_by_the_normalised_tangent():
    x, draws = _batch()
    network = TinyNetwork().double()
    plain = _plain()
    size = plain.loss(network, x, None, draws).per_sample.detach()
    loss = _plain(normalised=True, c=0.2).loss(network, x, None, draws)
    torch.testing.assert_close(loss.per_sample, size / (size.sqrt() + 0.2) ** 2)
    torch.testing.assert_close(loss.logs["loss_tangent"], size.mean())
    # The gradient of the loss in F is −2g/D: that of −2⟨F, g⟩/D with g held fixed.
    t = plain.flow.times(draws.uniform("time", (ROWS,), torch.float64))
    noise = draws.normal("noise", (ROWS, 2), torch.float64)
    z, theta = plain.flow.mix(x, noise, t), 0.5 * math.pi * t[:, None]
    raw = network(z / 0.5, t)
    g = plain.tangent(network, z, t, None, theta.cos() * 0.5 * noise - theta.sin() * x, ramp=1.0)
    g = g / (g.square().mean(1, keepdim=True).sqrt() + 0.2)
    expected = torch.autograd.grad((-2 * (raw * g).mean(1)).sum(), list(network.parameters()))
    found = torch.autograd.grad(loss.per_sample.sum(), list(network.parameters()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("warmup", "progress", "r"), [(0.1, 0.0, 0), (0.1, 0.05, 0.5), (0.1, 0.1, 1), (0.1, 1.0, 1),
                                                       (0.0, 0.0, 1), (1.0, 0.3, 0.3)])  # fmt: skip
def test_the_warm_up_rises_evenly(warmup, progress, r):
    assert SCM(warmup=warmup).ramp(progress) == pytest.approx(r)


def test_the_uncertainty_is_learned_and_starts_at_nothing():
    x, draws = _batch()
    network, objective = TinyNetwork().double(), SCM(warmup=0.0)
    start = objective.loss(network, x, None, draws).per_sample
    torch.testing.assert_close(start, SCM(warmup=0.0, learned=False).loss(network, x, None, draws).per_sample)
    (coefficients,) = objective.parameters()
    (gradient,) = torch.autograd.grad(start.mean(), coefficients)
    assert bool(gradient.any())
    with torch.no_grad():
        coefficients.normal_(generator=torch.Generator().manual_seed(0))
    t = objective.flow.times(draws.uniform("time", (ROWS,), torch.float64))
    u = objective.weighting.log_variance(objective.path, t)
    torch.testing.assert_close(objective.loss(network, x, None, draws).per_sample, start * torch.exp(-u) + u)


def test_two_objectives_share_no_parameters():
    one, other = (next(SCM().parameters()) for _ in range(2))
    assert one.data_ptr() != other.data_ptr()


@pytest.mark.parametrize("steps", [1, 4])
def test_sampling_goes_to_the_data_and_back_with_fresh_noise(steps):
    objective, network = SCM(), TinyNetwork().double()
    draws = Draws(3, 0, torch.arange(4))
    noise = draws.normal("noise", (4, 2), torch.float64)
    out, nfe = sample(objective, network, noise, None, steps=steps, draws=draws, return_nfe=True)
    z, theta = 0.5 * math.sin(math.atan(160)) * noise, torch.linspace(math.atan(160), 0, steps + 1, dtype=torch.float64)
    for i in range(steps):
        z = theta[i].cos() * z - theta[i].sin() * 0.5 * network(z / 0.5, (2 / math.pi * theta[i]).expand(4))
        if i < steps - 1:
            again = draws.normal(f"renoise{i}", (4, 2), torch.float64)
            z = theta[i + 1].cos() * z + 0.5 * theta[i + 1].sin() * again
    torch.testing.assert_close(out, z)
    assert nfe == steps


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"flow": FlowMatching()}, "path trig with the head trig"),
        ({"flow": FlowMatching(path=Trig())}, "path trig with the head trig"),
        ({"flow": FlowMatching(path=Trig(), head=TrigFlow(), weighting=MinSNR())}, "no weighting"),
        ({"warmup": 1.5}, "warmup in"),
        ({"c": 0.0}, "positive finite c"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SCM(**arguments)


def test_labels_and_needs():
    assert SCM().notation == "scm"
    assert SCM().needs == Needs(jvp=True)

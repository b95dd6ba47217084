"""MeanFlow: its identity, its rows, guidance inside training, its weight."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from objectives import Draws, FixedDraws, FlowMatching, MeanFlow, Needs, exact, formulation, sample
from objectives.conformance.common import mixture, to_uniforms, uniformity
from objectives.conformance.objectives import TinyNetwork
from objectives.densities import LogitNormal
from objectives.heads import VPrediction
from objectives.oracle import GaussianMixture
from objectives.weightings import MinSNR

ROWS = 24
HEADS = [FlowMatching(time=LogitNormal(-0.4, 1.0)), FlowMatching(head=VPrediction())]


class _Recorder:
    """u = tanh(z)·(1 + t + d), and what it was asked."""

    def __init__(self):
        self.calls = []

    def __call__(self, z, t, condition=None, step=None):
        dual = torch.autograd.forward_ad.unpack_dual(z).tangent is not None
        self.calls.append({"t": t, "step": step, "condition": condition, "grad": torch.is_grad_enabled(), "dual": dual})
        return torch.tanh(z) * (1 + t + step)[:, None]


def _batch(rows=ROWS, step=0):
    draws = Draws(5, step, torch.arange(rows))
    noise = draws.normal("data", (rows, 2), torch.float64)
    return mixture().sample(draws.uniform("component", (rows,)), noise), draws


def _marginal(objective, x, draws):
    """Draws and data whose ε − x is the marginal velocity, at the same z and the same times."""
    rows, flow = len(x), objective.flow
    uniforms = {name: draws.uniform(name, (rows,), torch.float64) for name in ("time", "end")}
    t = torch.maximum(*(flow.times(value) for value in uniforms.values()))
    z = flow.mix(x, draws.normal("noise", (rows, 2), torch.float64), t)
    a, b = flow.path.a(t), flow.path.b(t)
    return mixture().posterior_mean(z, a, b), FixedDraws(noise=mixture().posterior_noise(z, a, b), **uniforms)


@pytest.mark.parametrize("flow", HEADS, ids=lambda flow: flow.notation)
def test_the_residual_vanishes_at_the_exact_mean_velocity(flow):
    """With the marginal velocity in place of ε − x the loss is zero, row by row; with the conditional one it is not."""
    objective = MeanFlow(flow, ratio=1.0, p=0.0)
    network = exact.mean_flow(mixture(), objective, steps=100)
    x, draws = _batch()
    mean, fixed = _marginal(objective, x, draws)
    assert float(objective.loss(network, mean, None, fixed).per_sample.max().sqrt()) < 1e-8
    assert float(objective.loss(network, x, None, draws).per_sample.min().sqrt()) > 1e-3


@pytest.mark.parametrize("fault", ["d", "t", "z"])
def test_a_derivative_with_a_part_left_out_is_not_zero_there(fault, monkeypatch):
    import objectives.mean_flow as module

    real = module.along

    def planted(function, primals, tangents):
        return real(function, primals, [0 * s if name == fault else s for name, s in zip("ztd", tangents, strict=True)])

    objective = MeanFlow(ratio=1.0, p=0.0)
    x, draws = _batch()
    mean, fixed = _marginal(objective, x, draws)
    monkeypatch.setattr(module, "along", planted)
    loss = objective.loss(exact.mean_flow(mixture(), objective, steps=8), mean, None, fixed)
    assert float(loss.per_sample.max().sqrt()) > 1e-2


def test_the_exact_network_takes_any_step_at_once():
    """The mean velocity that the tests rest on is the flow map's, which is integrated otherwise."""
    objective, data = MeanFlow(), mixture()
    network = exact.mean_flow(data, objective, steps=100)
    z, draws = _batch()
    t = draws.uniform("time", (ROWS,), torch.float64)
    d = t * draws.uniform("end", (ROWS,), torch.float64)
    moved = z - d[:, None] * objective.velocity(network, z, t, None, d)
    torch.testing.assert_close(moved, data.flow_map(objective.path, z, t, t - d, steps=200), rtol=0, atol=1e-8)


def test_the_target_is_the_difference_quotients():
    network, objective = TinyNetwork().double(), MeanFlow()
    z, draws = _batch()
    v = draws.normal("noise", (ROWS, 2), torch.float64)
    t = 0.5 + 0.4 * draws.uniform("time", (ROWS,), torch.float64)
    d, h = t / 2, 1e-5
    rate = (network(z + h * v, t + h, None, d + h) - network(z - h * v, t - h, None, d - h)) / (2 * h)
    target = objective.target(network, z, t, None, d, v)
    assert not target.requires_grad
    torch.testing.assert_close(target, v - d[:, None] * rate, rtol=1e-7, atol=1e-7)


@given(st.sampled_from(((0.25, 4, 1), (0.5, 2, 1), (0.75, 4, 3), (1.0, 1, 1), (0.4, 5, 2))), st.integers(0, 1000))
def test_rows_times_and_steps(share, at):
    ratio, group, count = share
    objective, network = MeanFlow(ratio=ratio), _Recorder()
    assert objective.batch_multiple == group
    x, draws = _batch(6 * group, at)
    loss = objective.loss(network, x, None, draws)
    first, second = network.calls
    assert (first["grad"], first["dual"], second["grad"], second["dual"]) == (True, False, False, True)
    one, other = (objective.flow.times(draws.uniform(name, (6 * group,), torch.float64)) for name in ("time", "end"))
    inner = torch.arange(6 * group) % group < count
    torch.testing.assert_close(first["t"], torch.maximum(one, other))
    torch.testing.assert_close(first["step"], torch.where(inner, (one - other).abs(), torch.zeros_like(one)))
    assert len(second["t"]) == 6 * count
    torch.testing.assert_close(loss.steps, first["step"])
    assert ("loss_flow" in loss.logs) == (count < group)


def test_the_loss_is_weighted_by_its_own_size():
    x, draws = _batch()
    network = TinyNetwork().double()
    plain = MeanFlow(p=0.0).loss(network, x, None, draws).per_sample
    for p, c in ((1.0, 0.01), (0.5, 1.0)):
        loss = MeanFlow(p=p, c=c).loss(network, x, None, draws).per_sample
        torch.testing.assert_close(loss, plain / (plain.detach() + c / 2) ** p)
        gradients = torch.autograd.grad(loss.sum(), list(network.parameters()), retain_graph=True)
        weight = (plain.detach() + c / 2) ** -p
        expected = torch.autograd.grad((weight * plain).sum(), list(network.parameters()), retain_graph=True)
        for one, other in zip(gradients, expected, strict=True):
            torch.testing.assert_close(one, other)


def test_rows_without_a_step_are_flow_matchings():
    x, draws = _batch()
    network, objective = TinyNetwork().double(), MeanFlow(p=0.0)
    errors = objective.loss(network, x, None, draws).per_sample.view(-1, 4)[:, 1:]
    t = torch.maximum(*(objective.flow.times(draws.uniform(n, (ROWS,), torch.float64)) for n in ("time", "end")))
    noise = draws.normal("noise", (ROWS, 2), torch.float64)
    torch.testing.assert_close(errors, objective.loss_at(network, x, None, t, noise).view(-1, 4)[:, 1:])


# -- guidance inside training -----------------------------------------------------------------------------------------

ONE = mixture()
OTHER = GaussianMixture(-ONE.means, ONE.stds, ONE.weights)
BOTH = GaussianMixture(torch.cat((ONE.means, OTHER.means)), torch.cat((ONE.stds, OTHER.stds)), ONE.weights.repeat(2))


def _classes(objective, w, steps=80):
    """The exact u of two classes guided by w, and of none unguided, by integration along the guided field."""
    path = objective.path

    def field(z, t, label, drop):
        null, one, other = (data.velocity(path, z, t) for data in (BOTH, ONE, OTHER))
        conditional = torch.where(label[:, None] == 0, one, other)
        return torch.where(drop[:, None], null, null + w * (conditional - null))

    def network(z, t, condition=None, step=None):
        rest, d, here, total = (condition["label"], condition["drop"]), (step / steps)[:, None], z, 0
        for i in range(steps):
            at = t - i * step / steps
            k1 = field(here, at, *rest)
            k2 = field(here - d / 2 * k1, at - step / steps / 2, *rest)
            k3 = field(here - d / 2 * k2, at - step / steps / 2, *rest)
            k4 = field(here - d * k3, at - step / steps, *rest)
            mean = (k1 + 2 * k2 + 2 * k3 + k4) / 6
            here, total = here - d * mean, total + mean / steps
        return total

    return network


@pytest.mark.parametrize(("omega", "kappa", "w"), [(2.0, 0.0, 2.0), (1.0, 0.5, 2.0), (0.5, 0.75, 2.0)])
def test_guidance_is_learned_with_scale_omega_over_one_minus_kappa(omega, kappa, w):
    objective = MeanFlow(ratio=1.0, p=0.0, omega=omega, kappa=kappa)
    x, draws = _batch(12)
    label = torch.arange(12) % 2
    drop = torch.arange(12) % 3 == 0
    condition = {"label": label, "drop": drop}
    uniforms = {name: draws.uniform(name, (12,), torch.float64) for name in ("time", "end")}
    t = torch.maximum(*(objective.flow.times(value) for value in uniforms.values()))
    z = objective.flow.mix(x, draws.normal("noise", (12, 2), torch.float64), t)
    a, b = objective.path.a(t), objective.path.b(t)

    def posterior(name):
        null, one, other = (getattr(data, name)(z, a, b) for data in (BOTH, ONE, OTHER))
        return torch.where(drop[:, None], null, torch.where(label[:, None] == 0, one, other))

    fixed = FixedDraws(noise=posterior("posterior_noise"), **uniforms)
    network = _classes(objective, w)
    assert float(objective.loss(network, posterior("posterior_mean"), condition, fixed).per_sample.max().sqrt()) < 1e-8
    wrong = MeanFlow(ratio=1.0, p=0.0, omega=omega + 0.1, kappa=kappa)
    assert float(wrong.loss(network, posterior("posterior_mean"), condition, fixed).per_sample.max().sqrt()) > 1e-3


def test_guidance_holds_in_its_interval_and_not_where_the_condition_is_dropped():
    objective, network = MeanFlow(omega=3.0, kappa=0.5, guided_from=0.3, guided_to=0.6), _Recorder()
    z, draws = _batch(6)
    v = draws.normal("noise", (6, 2), torch.float64)
    t = torch.tensor([0.2, 0.3, 0.45, 0.6, 0.7, 0.5], dtype=torch.float64)
    for shape in ((6,), (6, 2)):
        drop = torch.zeros(shape, dtype=torch.bool)
        drop[5] = True
        moved = (objective.guided(network, z, t, {"label": torch.zeros(6), "drop": drop}, v) != v).all(1)
        assert moved.tolist() == [False, True, True, True, False, False]
    asked = network.calls[0]
    assert len(asked["t"]) == 12
    assert not asked["grad"]
    assert not bool(asked["step"].any())
    assert asked["condition"]["drop"].tolist() == [False] * 5 + [True] * 7
    MeanFlow(omega=3.0).guided(network, z, t, {"label": torch.zeros(6)}, v)
    assert network.calls[-1]["condition"]["drop"].tolist() == [True] * 6


def test_guidance_without_a_condition_is_refused():
    x, draws = _batch()
    with pytest.raises(ValueError, match="needs a condition"):
        MeanFlow(omega=2.0).loss(_Recorder(), x, None, draws)
    MeanFlow(omega=1.0).loss(_Recorder(), x, None, draws)


# -- sampling, and the rest -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_sampling_takes_equal_steps_and_tells_their_length(steps):
    network, noise = _Recorder(), _batch()[0]
    out, nfe = sample(MeanFlow(), network, noise, None, steps=steps, return_nfe=True)
    z = noise
    for i in range(steps):
        z = z - torch.tanh(z) * (1 + (1 - i / steps) + 1 / steps) / steps
    torch.testing.assert_close(out, z)
    assert nfe == steps


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_few_steps_of_the_exact_network_meet_the_data(steps):
    noise = Draws(3, 0, torch.arange(3000)).normal("noise", (3000, 2), torch.float64)
    network = exact.mean_flow(mixture(), MeanFlow(), steps=16)
    out = sample(MeanFlow(), network, noise, None, steps=steps)
    assert uniformity(to_uniforms(mixture(), out), 6) > 1e-4


def test_base_times_and_noise_are_flow_matchings_own():
    x, draws = _batch()
    fixed = FixedDraws(
        noise=draws.normal("noise", (ROWS, 2), torch.float64),
        **{name: draws.uniform(name, (ROWS,), torch.float64) for name in ("time", "end")},
    )
    losses = [MeanFlow().loss(_Recorder(), x, None, each).per_sample for each in (draws, fixed)]
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"flow": formulation("edm/rf")}, "path straight"),
        ({"flow": FlowMatching(weighting=MinSNR())}, "no weighting"),
        ({"ratio": 0.0}, "ratio in"),
        ({"ratio": 1.1}, "ratio in"),
        ({"ratio": 1 / 97}, "ratio in"),
        ({"ratio": float("nan")}, "ratio in"),
        ({"p": -0.1}, "p in"),
        ({"c": 0.0}, "positive finite c"),
        ({"omega": -1.0}, "omega ≥ 0"),
        ({"kappa": 1.0}, "kappa in"),
        ({"guided_from": 0.6, "guided_to": 0.5}, "guided_from"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MeanFlow(**arguments)


def test_wrong_batches_are_refused():
    x, draws = _batch(6)
    with pytest.raises(ValueError, match="multiple of 4, got 6"):
        MeanFlow().loss(_Recorder(), x, None, draws)


def test_labels_and_needs():
    assert MeanFlow().notation == "mean_flow"
    assert MeanFlow(formulation("rf")).notation == "mean_flow/rf"
    assert MeanFlow().needs == Needs(step=True, jvp=True)

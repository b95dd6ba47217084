"""Inversion, inpainting and image-to-image against the exact flow."""

from __future__ import annotations

import pytest
import torch

from objectives import FlowMatching, ProgressiveDistillation, Shortcut, formulation, sample
from objectives.conformance.common import close, draws, mixture
from objectives.editing import _last_step_inverted, image_to_image, inpaint, invert
from objectives.oracle import GaussianMixture
from objectives.paths import Cosine, LDMLinear, Straight, VarianceExploding
from objectives.sampling import Sampler
from objectives.solvers import Dopri5, EulerMaruyama

ROWS = 32
X = mixture().sample(draws(ROWS).uniform("u", (ROWS,)), draws(ROWS).normal("x", (ROWS, 2), torch.float64))
NOISE = draws(ROWS).normal("noise", (ROWS, 2), torch.float64)
FLOWS = [*(FlowMatching(path=path) for path in (Straight(), Cosine(), LDMLinear(), VarianceExploding()))]
FLOWS.append(formulation("edm(0.00,1.20)"))


def _sampler(objective, solver=None, data=None, **given):
    return Sampler(objective, (data or mixture()).network(objective), solver, **given)


def _full(value):
    return torch.full((ROWS,), value, dtype=torch.float64)


@pytest.mark.parametrize("objective", FLOWS, ids=lambda objective: f"{objective.path} {objective.head}")
@pytest.mark.parametrize("solver", ["ddim", "heun", "dpmpp_2m", "rk4"])
def test_data_go_to_noise_and_back(objective, solver):
    sampler = _sampler(objective, solver)
    noise = invert(sampler, X, None, steps=40)
    back = sample(objective, sampler.network, noise, None, steps=40, solver=solver)
    bound = {"ddim": 0.3, "heun": 3e-3, "dpmpp_2m": 0.03, "rk4": 1e-4}[solver]
    assert float((back - X).abs().max()) < bound
    assert float((noise - X).abs().mean()) > 0.15


@pytest.mark.parametrize("objective", FLOWS, ids=lambda objective: f"{objective.path} {objective.head}")
def test_the_noise_is_where_the_exact_flow_comes_from(objective):
    noise = invert(_sampler(objective, Dopri5(1e-7, 1e-7)), X, None, steps=8)
    path = objective.path
    exact = mixture().flow_map(path, X, _full(0.0), _full(path.t_max)) / objective.prior(torch.ones(1))
    close(noise, exact, 3e-4)


def test_the_last_step_is_inverted_exactly():
    """Two steps of Euler's: the error of the round trip is that of the first alone, which stays where it is."""
    sampler = _sampler(FlowMatching(), "euler")
    times = sampler.times(50)
    at = sampler.run(NOISE, times[:-1], None)[0]
    landed = sampler.run(at, times[-2:], None)[0]
    close(_last_step_inverted(sampler, landed, None, times.flip(0)), at, 1e-7)


def test_guided_inversion_needs_its_own_guidance_to_come_back():
    condition = {"label": torch.arange(ROWS) % 2}
    exact = mixture().network(FlowMatching())

    def network(z, t, condition, step=None):
        shift = torch.where(condition["drop"], 0.0, condition["label"].double()) if "drop" in condition else 0.0
        return exact(z, t) + 0.1 * torch.as_tensor(shift)[..., None]

    guided = Sampler(FlowMatching(), network, "rk4", 2.0)
    noise = invert(guided, X, condition, steps=40)
    close(sample(FlowMatching(), network, noise, condition, steps=40, solver="rk4", guidance=2.0), X, 1e-4)


SOLVERS = ["euler", "heun", "dpmpp_2m", "euler_maruyama", Dopri5(1e-3, 1e-3)]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("objective", FLOWS[::3], ids=lambda objective: str(objective.path))
def test_inpainting_keeps_what_is_known(objective, solver):
    sampler = _sampler(objective, solver)
    mask = torch.rand(ROWS, 2, generator=torch.Generator().manual_seed(0)) < 0.5
    out = inpaint(sampler, X, mask, NOISE, None, steps=8, draws=draws(ROWS))
    assert torch.equal(out[mask], X[mask])
    assert float((out[~mask] - X[~mask]).abs().mean()) > 0.1
    plain = sample(objective, sampler.network, NOISE, None, steps=8, solver=solver, draws=draws(ROWS))
    nothing = inpaint(sampler, X, torch.zeros(1, dtype=torch.bool), NOISE, None, steps=8, draws=draws(ROWS))
    close(nothing, plain, 1e-12)


@pytest.mark.parametrize("objective", FLOWS[:4], ids=lambda objective: str(objective.path))
def test_the_network_sees_what_is_known_as_it_is_on_the_path(objective):
    path, exact, known, seen = objective.path, mixture().network(objective), torch.tensor([True, False]), []

    def network(z, t, condition=None, step=None):
        a, b = path.a(t)[:1], path.b(t)[:1]
        seen.append(float(t[0]))
        close(z[:, 0], a * X[:, 0] + b * NOISE[:, 0])
        return exact(z, t)

    inpaint(Sampler(objective, network, "euler"), X, known, NOISE, None, steps=5)
    assert seen == objective.time_grid(5).tolist()[:-1]


def test_what_is_filled_in_fits_what_is_known():
    """Two far components, of equal sign in both coordinates: the first coordinate tells the second's sign."""
    rows = 200
    data = GaussianMixture(torch.tensor([[-2.0, -2.0], [2.0, 2.0]]), torch.tensor([0.2, 0.2]))
    random = draws(rows)
    x = data.sample(random.uniform("u", (rows,)), random.normal("x", (rows, 2), torch.float64))
    noise, hidden = random.normal("noise", (rows, 2), torch.float64), x * torch.tensor([1.0, 99.0])

    def fits(solver, known):
        sampler = _sampler(FlowMatching(), solver, data)
        out = inpaint(sampler, hidden, torch.tensor([known, False]), noise, None, steps=40, draws=random)
        return float((out[:, 1].sign() == x[:, 0].sign()).double().mean())

    assert fits("heun", True) > 0.7
    assert fits(EulerMaruyama(scale=3.0), True) > 0.9
    assert 0.4 < fits("heun", False) < 0.6


def test_coordinates_that_know_nothing_of_each_other_are_left_alone():
    data = GaussianMixture(torch.tensor([[0.5, -0.5]]), torch.tensor([0.4]))
    sampler = _sampler(FlowMatching(), "heun", data)
    out = inpaint(sampler, X, torch.tensor([True, False]), NOISE, None, steps=10)
    plain = sample(FlowMatching(), sampler.network, NOISE, None, steps=10, solver="heun")
    close(out[:, 1], plain[:, 1])


@pytest.mark.parametrize("objective", FLOWS, ids=lambda objective: f"{objective.path} {objective.head}")
@pytest.mark.parametrize("t", [0.2, 0.6])
def test_image_to_image_follows_the_exact_flow_from_t(objective, t):
    path, seen = objective.path, []
    exact = mixture().network(objective)

    def network(z, label, condition=None, step=None):
        seen.append(float(objective.label_time(label)[0]))
        return exact(z, label)

    out = image_to_image(Sampler(objective, network, "dpmpp_2m"), X, NOISE, None, t=t, steps=200)
    a, b = path.a(_full(t))[:, None], path.b(_full(t))[:, None]
    close(out, mixture().flow_map(path, a * X + b * NOISE, _full(t), _full(0.0)), 0.02)
    assert seen[0] == pytest.approx(t)
    assert seen[1:] == pytest.approx([time for time in objective.time_grid(200).tolist()[:-1] if time < t - 1e-9])


def test_from_the_paths_end_nothing_is_left_of_the_image():
    sampler = _sampler(FlowMatching(), "heun")
    whole = image_to_image(sampler, X, NOISE, None, t=1.0, steps=6)
    close(whole, sample(FlowMatching(), sampler.network, NOISE, None, steps=6, solver="heun"))
    near = image_to_image(sampler, X, NOISE, None, t=1e-3, steps=6)
    close(near, X, 0.01)


def test_a_shortcut_model_starts_on_its_own_grid():
    shortcut, asked = Shortcut(M=8), []
    exact = mixture().network(shortcut)

    def network(z, t, condition, step):
        asked.append((float(t[0]), float(step[0])))
        return exact(z, t, condition, step)

    sampler = Sampler(shortcut, network)
    out = image_to_image(sampler, X, NOISE, None, t=0.5, steps=4)
    assert asked == [(0.5, 0.25), (0.25, 0.25)]
    times = torch.tensor([0.5, 0.25, 0.0], dtype=torch.float64)
    close(out, sampler.run(0.5 * X + 0.5 * NOISE, times, None)[0])
    known = inpaint(sampler, X, torch.tensor([True, False]), NOISE, None, steps=3)
    assert torch.equal(known[:, 0], X[:, 0])
    with pytest.raises(ValueError, match=r"can start at t = 1, 0.75, 0.5, 0.25, got 0.6"):
        image_to_image(sampler, X, NOISE, None, t=0.6, steps=4)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: invert(_sampler(FLOWS[0], "euler_maruyama"), X, None, steps=5), "deterministic"),
        (lambda: invert(_sampler(Shortcut()), X, None, steps=4), "towards the data alone"),
        (lambda: invert(_sampler(ProgressiveDistillation()), X, None, steps=4), "towards the data alone"),
        (lambda: invert(_sampler(FLOWS[0]), X, None, steps=1), "at least 2 steps"),
        (lambda: invert(Sampler(FLOWS[0], lambda z, t, c: 8 * z), X, None, steps=2), "from t = 0.5, is too long"),
        (lambda: inpaint(_sampler(FLOWS[0]), X, torch.ones(2), NOISE, None, steps=2), "mask must be bool"),
        (lambda: inpaint(_sampler(FLOWS[0]), X, torch.ones(2) > 0, NOISE[:3], None, steps=2), "one shape"),
        (lambda: image_to_image(_sampler(FLOWS[0]), X, NOISE, None, t=0.0, steps=2), "above 0"),
        (lambda: image_to_image(_sampler(FLOWS[3]), X, NOISE, None, t=0.99, steps=2), "at most 0.987654"),
    ],
)
def test_what_does_not_fit_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()

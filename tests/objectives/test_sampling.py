"""Sampling: EDM's algorithms as written in its paper, evaluations counted, guidance, wrong requests."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from objectives import Draws, FlowMatching, Guidance, Shortcut, formulation, sample
from objectives.condition import with_null
from objectives.conformance.common import mixture
from objectives.densities import LogitNormal
from objectives.heads import EDMPreconditioned
from objectives.paths import Straight, VarianceExploding
from objectives.solvers import EDMStochastic, Heun

NOISE = Draws(0, 0, torch.arange(16)).normal("noise", (16, 2), torch.float64)


def _network(z, t, condition=None, step=None):
    shift = 0.0 if condition is None else condition["label"][:, None] * ~condition["drop"][:, None]
    return torch.tanh(1.3 * z) + 0.2 * t[:, None] + shift


def _denoiser(z, sigma):
    skip, out = 0.25 / (sigma**2 + 0.25), 0.5 * sigma / math.sqrt(sigma**2 + 0.25)
    label = torch.full((len(z),), math.log(sigma) / 4, dtype=z.dtype)
    return skip * z + out * _network(z / math.sqrt(sigma**2 + 0.25), label)


def _edm(noise, steps, churn=0.0, s_min=0.0, s_max=math.inf, s_noise=1.0, fresh=None):
    """Karras et al. 2022, algorithm 2, from the paper's text; algorithm 1 where churn is 0."""
    if steps == 1:
        sigmas = [80.0, 0.0]
    else:
        ends = 80 ** (1 / 7), 0.002 ** (1 / 7)
        sigmas = [(ends[0] + i / (steps - 1) * (ends[1] - ends[0])) ** 7 for i in range(steps)] + [0.0]
    x = noise * sigmas[0]
    for i in range(steps):
        gamma = min(churn / steps, math.sqrt(2) - 1) if s_min <= sigmas[i] <= s_max else 0.0
        hat = sigmas[i] * (1 + gamma)
        if gamma:
            x = x + math.sqrt(hat**2 - sigmas[i] ** 2) * s_noise * fresh[i]
        d = (x - _denoiser(x, hat)) / hat
        ahead = x + (sigmas[i + 1] - hat) * d
        if sigmas[i + 1] > 0:
            d = (d + (ahead - _denoiser(ahead, sigmas[i + 1])) / sigmas[i + 1]) / 2
            ahead = x + (sigmas[i + 1] - hat) * d
        x = ahead
    return x


@pytest.mark.parametrize("steps", [1, 2, 3, 18])
def test_heun_on_the_exploding_path_is_edms_algorithm_1(steps):
    out, nfe = sample(formulation("edm(-1.20,1.20)"), _network, NOISE, None, steps=steps, return_nfe=True)
    torch.testing.assert_close(out, _edm(NOISE, steps), rtol=1e-10, atol=1e-10)
    assert nfe == 2 * steps - 1


@pytest.mark.parametrize("churn", [0.0, 5.0, 1000.0])
def test_edm_stochastic_is_edms_algorithm_2(churn):
    draws = Draws(3, 0, torch.arange(16))
    solver = EDMStochastic(churn=churn, s_min=0.05, s_max=50.0, s_noise=1.003)
    out = sample(formulation("edm(-1.20,1.20)"), _network, NOISE, None, steps=12, solver=solver, draws=draws)
    fresh = [draws.normal(f"churn{i}", (16, 2), torch.float64) for i in range(12)]
    torch.testing.assert_close(out, _edm(NOISE, 12, churn, 0.05, 50.0, 1.003, fresh), rtol=1e-10, atol=1e-10)


def test_edm_stochastic_needs_draws_and_its_path():
    with pytest.raises(ValueError, match="needs draws"):
        sample(formulation("edm/rf"), _network, NOISE, None, steps=4, solver="edm_stochastic")
    with pytest.raises(ValueError, match="allowed: euler, ddim, heun"):
        sample(
            FlowMatching(), _network, NOISE, None, steps=4, solver=EDMStochastic(), draws=Draws(0, 0, torch.arange(16))
        )
    with pytest.raises(ValueError, match="churn"):
        EDMStochastic(churn=-1.0)


@pytest.mark.parametrize("objective", [FlowMatching(), FlowMatching(path=VarianceExploding()), formulation("edm/cos")])
def test_ddim_equals_euler_on_straight_and_exploding_paths(objective):
    euler, ddim = (sample(objective, _network, NOISE, None, steps=9, solver=name) for name in ("euler", "ddim"))
    torch.testing.assert_close(euler, ddim, rtol=1e-10, atol=1e-10)


def test_one_network_on_two_paths_gives_one_flow():
    """The exact networks of rf and of EDM carry the same noise to the same data."""
    data, noise = mixture(), NOISE
    straight = sample(FlowMatching(), data.network(FlowMatching()), noise, None, steps=400, solver="heun")
    edm = formulation("edm(-1.20,1.20)")
    exploding = sample(edm, data.network(edm), noise, None, steps=400)
    torch.testing.assert_close(straight, exploding, rtol=0.02, atol=0.02)
    one, zero = torch.ones(16, dtype=torch.float64), torch.zeros(16, dtype=torch.float64)
    torch.testing.assert_close(straight, data.flow_map(Straight(), noise, one, zero), rtol=1e-3, atol=1e-3)


def test_samples_come_in_the_noises_dtype_and_networks_see_it():
    seen = []

    def network(z, t, condition=None, step=None):
        seen.extend((z.dtype, t.dtype))
        assert t.shape == z.shape[:1]
        return z

    out = sample(formulation("edm/rf"), network, NOISE.float(), None, steps=3)
    assert out.dtype == torch.float32
    assert set(seen) == {torch.float32}
    assert not out.requires_grad


@pytest.mark.parametrize("steps", [0, -1, 1.5, True, "4"])
def test_illegal_step_counts_are_refused(steps):
    for objective in (FlowMatching(), Shortcut(), formulation("edm/rf")):
        with pytest.raises(ValueError, match="number of steps"):
            sample(objective, _network, NOISE, None, steps=steps)


def test_illegal_solvers_are_refused():
    with pytest.raises(ValueError, match="allowed: euler, ddim, heun"):
        sample(FlowMatching(), _network, NOISE, None, steps=2, solver="rk5")
    for solver in ("heun", Heun()):
        with pytest.raises(ValueError, match="allowed: euler"):
            sample(Shortcut(), _network, NOISE, None, steps=2, solver=solver)


CONDITION = {"label": torch.arange(16) % 3}


class _Calls:
    def __init__(self):
        self.batches = []

    def __call__(self, z, t, condition, step=None):
        self.batches.append(len(z))
        condition = {"drop": torch.zeros(len(z), dtype=torch.bool), **condition}
        return _network(z, t, condition)


@pytest.mark.parametrize("name", ["rf", "edm(-1.20,1.20)"])
def test_guidance_is_one_batched_call_on_the_raw_output(name):
    objective, w, calls = formulation(name), 2.5, _Calls()
    out, nfe = sample(objective, calls, NOISE, CONDITION, steps=3, solver="euler", guidance=w, return_nfe=True)
    assert calls.batches == [32] * 3
    assert nfe == 6

    def combined(z, t, condition, step=None):
        keep = torch.zeros(len(z), dtype=torch.bool)
        null = _network(z, t, {**condition, "drop": ~keep})
        return null + w * (_network(z, t, {**condition, "drop": keep}) - null)

    torch.testing.assert_close(out, sample(objective, combined, NOISE, CONDITION, steps=3, solver="euler"))


@pytest.mark.parametrize(
    ("guidance", "rows"),
    [(Guidance(2.0), 32), (Guidance(2.0, interval=(0.0, 0.1)), 16), (Guidance(2.0, reference=_network), 16)],
)
def test_a_guided_network_is_told_the_step(guidance, rows):
    told, t, step = [], torch.full((16,), 0.5).double(), torch.linspace(0.1, 0.5, 16).double()

    def network(z, t, condition, step=None):
        told.append(step)
        return _network(z, t, {"drop": torch.zeros(len(z), dtype=torch.bool), **condition})

    if guidance.reference is not None:
        guidance = replace(guidance, reference=network)
    guidance.wrap(network, CONDITION, lambda label: label)(NOISE, t, CONDITION, step)
    for each in told:
        torch.testing.assert_close(each, step.repeat(rows // 16))
    assert len(told) == (1 if guidance.reference is None else 2)


def test_rows_that_are_dropped_already_stay_so_beside_their_null():
    drop = torch.arange(16) % 2 == 0
    doubled = with_null({**CONDITION, "drop": drop})
    assert torch.equal(doubled["drop"], torch.cat((drop, torch.ones(16, dtype=torch.bool))))
    assert torch.equal(doubled["label"], CONDITION["label"].repeat(2))


def test_no_guidance_costs_nothing_and_needs_no_condition():
    calls = _Calls()
    _, nfe = sample(FlowMatching(), calls, NOISE, CONDITION, steps=3, guidance=1.0, return_nfe=True)
    assert (calls.batches, nfe) == ([16] * 3, 3)
    with pytest.raises(ValueError, match="needs a condition"):
        sample(FlowMatching(), _network, NOISE, None, steps=3, guidance=1.5)


@pytest.mark.parametrize("name", ["rf", "edm(-1.20,1.20)"])
def test_the_interval_is_of_path_time(name):
    objective, calls = formulation(name), _Calls()
    sample(objective, calls, NOISE, CONDITION, steps=8, solver="euler", guidance=Guidance(2.0, interval=(0.3, 0.8)))
    inside = [0.3 <= t <= 0.8 for t in objective.time_grid(8).tolist()[:-1]]
    assert any(inside)
    assert calls.batches == [32 if guided else 16 for guided in inside]


def test_rescaling_restores_the_conditional_deviation():
    seen = {}

    def network(z, t, condition, step=None):
        out = z * torch.where(condition["drop"], 0.5, 1.0)[:, None] + torch.arange(8)
        seen["conditional"] = out[:4].std(1)
        return out

    t, z = torch.ones(4), Draws(0, 0, torch.arange(4)).normal("noise", (4, 8))
    condition = {"label": torch.zeros(4)}
    for rescale, close in ((1.0, True), (None, False)):
        guided = Guidance(4.0, rescale=rescale).wrap(network, condition, lambda label: label)
        assert torch.allclose(guided(z, t, condition).std(1), seen["conditional"], rtol=1e-4) == close


def test_channels_beyond_the_guided_ones_follow_the_condition():
    """DiT's forward_with_cfg: the first channels guided, the rest as the condition alone has them."""

    def network(z, t, condition, step=None):
        return z * torch.where(condition["drop"], 0.5, 1.0)[:, None, None]

    t, z = torch.ones(2), Draws(0, 0, torch.arange(2)).normal("noise", (2, 4, 3))
    condition = {"label": torch.zeros(2)}
    out = Guidance(3.0, channels=3).wrap(network, condition, lambda label: label)(z, t, condition)
    torch.testing.assert_close(out[:, :3], 2.0 * z[:, :3])
    torch.testing.assert_close(out[:, 3:], z[:, 3:])


def test_autoguidance_calls_each_network_once_under_the_condition():
    calls, weaker, w = _Calls(), _Calls(), 1.8
    weak = Guidance(w, reference=lambda z, t, condition: 0.7 * weaker(z, t, condition))
    out, nfe = sample(FlowMatching(), calls, NOISE, CONDITION, steps=3, solver="euler", guidance=weak, return_nfe=True)
    assert (calls.batches, weaker.batches, nfe) == ([16] * 3, [16] * 3, 6)

    def combined(z, t, condition):
        better = _Calls()(z, t, condition)
        return 0.7 * better + w * (better - 0.7 * better)

    close = torch.testing.assert_close
    close(out, sample(FlowMatching(), combined, NOISE, CONDITION, steps=3, solver="euler"))


def test_autoguidance_needs_no_condition_and_costs_nothing_at_one():
    calls = []

    def reference(z, t, condition):
        calls.append(len(z))
        return 0.5 * _network(z, t)

    def twice(z, t, condition):
        return 1.5 * _network(z, t)

    guided = sample(FlowMatching(), _network, NOISE, None, steps=3, guidance=Guidance(2.0, reference=reference))
    torch.testing.assert_close(guided, sample(FlowMatching(), twice, NOISE, None, steps=3))
    assert calls == [16] * 3
    sample(FlowMatching(), _network, NOISE, None, steps=3, guidance=Guidance(1.0, reference=reference))
    sample(FlowMatching(), _network, NOISE, None, steps=4, guidance=Guidance(2.0, (0.4, 0.6), reference=reference))
    assert calls == [16] * 4


@pytest.mark.parametrize("guidance", [1.0, 2.0, Guidance(2.0, reference=lambda z, t, c, s=None: 0.5 * z.tanh())])
@pytest.mark.parametrize("name", ["rf", "edm/rf"])
def test_float64_sampling_around_a_float32_network(name, guidance):
    objective, seen = formulation(name), set()

    def network(z, t, condition, step=None):
        seen.add((z.dtype, t.dtype))
        return _Calls()(z, t, condition)

    out = sample(objective, network, NOISE, CONDITION, steps=6, guidance=guidance, network_dtype=torch.float32)
    assert out.dtype == torch.float64
    assert seen == {(torch.float32, torch.float32)}
    exact = sample(objective, network, NOISE, CONDITION, steps=6, guidance=guidance)
    torch.testing.assert_close(out, exact, rtol=1e-5, atol=1e-5)
    assert not torch.equal(out, exact)


@pytest.mark.parametrize(
    "wrong", [{"scale": math.inf}, {"interval": (0.5, 0.2)}, {"interval": (0, 2)}, {"rescale": 1.5}, {"channels": 0}]
)
def test_guidance_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match="guidance"):
        Guidance(**{"scale": 2.0, **wrong})


def test_products_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="variance_exploding"):
        FlowMatching(head=EDMPreconditioned())
    with pytest.raises(ValueError, match="condition_drop"):
        FlowMatching(condition_drop=1.5)
    with pytest.raises(ValueError, match="sigma_min"):
        VarianceExploding(sigma_min=90.0)
    with pytest.raises(ValueError, match="rho"):
        VarianceExploding(rho=0.5)
    with pytest.raises(ValueError, match="of its mass"):
        FlowMatching(path=VarianceExploding(sigma_max=1.0), time=LogitNormal(5.0, 0.1))


def test_a_float32_network_is_told_the_length_of_the_step_in_float32():
    seen = []

    def network(z, t, condition, step):
        seen.append((step.dtype, step.tolist()))
        return torch.zeros_like(z)

    sample(Shortcut(), network, NOISE, None, steps=4, network_dtype=torch.float32)
    assert seen == [(torch.float32, [0.25] * 16)] * 4


def test_shortcut_predicts_by_the_finest_step_unless_told():
    def network(z, t, condition, step):
        return z * step[:, None]

    t, objective = torch.full((16,), 0.5, dtype=torch.float64), Shortcut()
    for step in (None, torch.full_like(t, 0.25)):
        velocity = NOISE * (1 / 128 if step is None else 0.25)
        x, noise = objective.predict(network, NOISE, t, None, step)
        torch.testing.assert_close((x, noise), (NOISE - velocity / 2, NOISE + velocity / 2))

"""Guidance of a shortcut model: once, at the finest half steps, inherited by all longer ones."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from objectives import Draws, FixedDraws, FlowMatching, Needs, Shortcut, exact, formulation, sample
from objectives.conformance.common import LEVEL, mixture, zero_mean
from objectives.conformance.objectives import _Perturbed
from objectives.oracle import GaussianMixture
from objectives.paths import VarianceExploding
from objectives.shortcut_grid import most_of, rotation
from objectives.shortcut_guidance import guided_rows

W = 2.5
BOTH = mixture()
CLASSES = [
    GaussianMixture(BOTH.means[:1], BOTH.stds[:1]),
    GaussianMixture(BOTH.means[1:], BOTH.stds[1:], BOTH.weights[1:]),
]
"""The kit's mixture, its first component being class 0."""
FLOWS = {"straight": FlowMatching(), "cosine": formulation("v/cos"), "exploding": formulation("edm(-1.20,1.20)")}
every_flow = pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)


class _Recorder:
    def __init__(self):
        self.calls = []

    def __call__(self, z, t, condition=None, step=None):
        self.calls.append({"z": z, "t": t, "condition": condition, "step": step})
        out = torch.tanh(z) * (1 + t + step)[:, None]
        return out if condition is None else out * (1 + condition["label"])[:, None] * (1 + condition["drop"])[:, None]


def _field(path):
    """The exact velocity of each row's class, of both together where it is dropped."""

    def velocity(z, t, condition):
        each = torch.stack([data.velocity(path, z, t) for data in (*CLASSES, BOTH)], dim=1)
        which = torch.where(condition["drop"], 2, condition["label"])
        return each[torch.arange(len(z)), which]

    return velocity


def _exact(shortcut):
    return exact.shortcut(
        _field(shortcut.path), shortcut, null=lambda z, t, condition: BOTH.velocity(shortcut.path, z, t)
    )


def _batch(count, step=0):
    """Rows of both classes as the mixture has them, and where they come from."""
    draws = Draws(5, step, torch.arange(count))
    label = (draws.uniform("component", (count,), torch.float64) > float(BOTH.weights[0])).long()
    uniforms, noise = draws.uniform("within", (count,)), draws.normal("data", (count, 2), torch.float64)
    each = torch.stack([data.sample(uniforms, noise) for data in CLASSES], dim=1)
    return each[torch.arange(count), label], {"label": label}, draws


def test_only_the_finest_half_steps_are_guided_with_their_null_rows_in_the_same_call():
    shortcut = Shortcut(FlowMatching(condition_drop=0.3), M=32, k=0.5, bias=0, guidance=W)
    teacher, count = _Recorder(), 40
    x, condition, draws = _batch(count)
    shortcut.loss(_Recorder(), x, condition, draws, teacher=teacher)
    assert len(teacher.calls) == 2
    for call in teacher.calls:
        assert len(call["z"]) == 20 + 4  # 20 rows, of which every fifth takes the step 2/M
        own, null = slice(None, 20), slice(20, None)
        finest = call["step"][own] == 1 / 32
        assert int(finest.sum()) == 4
        assert bool((call["step"][null] == 1 / 32).all())
        for name in ("z", "t"):
            assert torch.equal(call[name][null], call[name][own][finest])
        assert torch.equal(call["condition"]["label"][null], call["condition"]["label"][own][finest])
        assert bool(call["condition"]["drop"][null].all())
        assert 0 < int(call["condition"]["drop"][own].sum()) < 10


def test_the_target_is_the_mean_of_two_guided_half_steps():
    shortcut, plain = Shortcut(M=8, bias=0, guidance=W), Shortcut(M=8, bias=0)
    z, condition, draws = _batch(12)
    d = torch.tensor([1, 0.5, 0.25] * 4, dtype=torch.float64)
    t = d * torch.ceil(draws.uniform("time", (12,), torch.float64) / d)
    condition = {**condition, "drop": torch.arange(12) % 4 == 0}
    target = shortcut.target(_Recorder(), z, t, condition, d)
    null = {**condition, "drop": torch.ones(12, dtype=torch.bool)}

    def velocity(z, t):
        out, nothing = (_Recorder()(z, t, asked, d / 2) for asked in (condition, null))
        return torch.where((d == 0.25)[:, None], nothing + W * (out - nothing), out)

    first = velocity(z, t)
    expected = (first + velocity(z - d[:, None] / 2 * first, t - d / 2)) / 2
    torch.testing.assert_close(target, expected)
    untouched = (d != 0.25) | condition["drop"]
    without = plain.target(_Recorder(), z, t, condition, d)
    torch.testing.assert_close(target[untouched], without[untouched], rtol=1e-14, atol=0)
    assert float((target - without)[~untouched].abs().min()) > 1e-6
    torch.testing.assert_close(shortcut.target(_Recorder(), z, t, condition, d, most_guided=4), target)


@every_flow
@pytest.mark.parametrize("label", ["finest", "zero"])
def test_self_consistency_vanishes_at_the_guided_fixed_point(flow, label):
    """Guided at the finest half steps and nowhere else; with another weight, or none, it does not vanish."""
    shortcut, count = Shortcut(flow, M=16, k=0.5, bias=0, label=label, guidance=W), 80
    x, condition, draws = _batch(count)

    def worst(network):
        loss = shortcut.loss(network, x, condition, draws, teacher=network)
        return float(loss.per_sample[::2].max())

    assert worst(_exact(shortcut)) < 1e-16
    assert worst(_exact(Shortcut(flow, M=16, guidance=W + 0.1))) > 1e-8
    assert worst(exact.shortcut(_field(flow.path), shortcut)) > 1e-6


@every_flow
def test_longer_steps_inherit_it(flow):
    """One step of the exact network, unguided, ends where M Euler steps end whose velocities are guided."""
    shortcut, (x, condition, _) = Shortcut(flow, M=16, guidance=W), _batch(12)
    condition = {**condition, "drop": torch.zeros(12, dtype=torch.bool)}
    network, z = _exact(shortcut), shortcut.prior(x)
    field, times = _field(flow.path), shortcut.time_grid(16)
    null = {**condition, "drop": torch.ones(12, dtype=torch.bool)}
    for start, end in pairwise(times):
        t = start.expand(12)
        out, nothing = field(z, t, condition), field(z, t, null)
        z = z + (flow.path.clock(end) - flow.path.clock(start)) * (nothing + W * (out - nothing))
    for steps in (1, 2, 3, 8):
        torch.testing.assert_close(sample(shortcut, network, x, condition, steps=steps), z, rtol=0, atol=1e-11)
    finest = sample(shortcut, network, x, condition, steps=16)
    assert float((finest - z).abs().max()) > 1e-2
    torch.testing.assert_close(sample(shortcut, network, x, condition, steps=16, guidance=W), z, rtol=0, atol=1e-11)


@every_flow
def test_the_expected_gradient_is_zero_at_the_guided_fixed_point(flow):
    """Over all rows, and where the condition is kept for each class apart: guidance cancels in their mean."""
    shortcut, count = Shortcut(flow, M=8, k=0.5, bias=0, guidance=W), 6_000
    x, condition, draws = _batch(count)
    side = torch.where(flow.dropped(condition, draws, count)["drop"], 0, 2 * condition["label"] - 1)[:, None]

    def gradients(network):
        perturbed = _Perturbed(network, count, 2)
        loss = shortcut.loss(perturbed, x, condition, draws, teacher=network)
        each = torch.autograd.grad(loss.per_sample.sum(), perturbed.theta)[0].flatten(1)
        return torch.cat((each, side * each), dim=1)

    assert zero_mean(gradients(_exact(shortcut))) > LEVEL
    assert zero_mean(gradients(_exact(Shortcut(flow, M=8, guidance=1.0)))) < LEVEL


def test_nothing_is_asked_twice_without_guidance():
    plain, one = (Shortcut(**given) for given in ({}, {"guidance": 1.0}))
    x, condition, draws = _batch(16)
    losses = []
    for shortcut in (plain, one):
        teacher = _Recorder()
        losses.append(shortcut.loss(_Recorder(), x, condition, draws, teacher=teacher).per_sample)
        assert [len(call["z"]) for call in teacher.calls] == [4, 4]
    assert torch.equal(*losses)
    assert not plain.needs.condition


@given(st.sampled_from((2, 8, 128)), st.floats(0, 1), st.integers(1, 40), st.integers(0, 10**6))
def test_as_many_null_rows_at_every_step_as_can_be_needed(M, bias, groups, start):
    """The number depends on the batch alone; at some step all of them are needed."""
    shortcut, needed = Shortcut(M=M, bias=bias, guidance=W), []
    index = torch.arange(4 * groups)
    for step in range(start, start + len(shortcut.levels)):
        level = shortcut.levels[Draws(0, step, index).cycle("step", len(shortcut.levels), every=4)[::4]]
        needed.append(int((level == M.bit_length() - 2).sum()))
    assert max(needed) == shortcut.most_guided(4 * groups) <= groups
    assert most_of(rotation(M.bit_length() - 1, bias), M.bit_length() - 2, len(shortcut.levels)) == sum(needed) / groups


@pytest.mark.parametrize(("given", "share"), [({"bias": 0}, 1 / 7), ({"bias": 1}, 1 / 127), ({"M": 2}, 1)])
@pytest.mark.parametrize("k", [1 / 2, 1 / 4, 1 / 8])
def test_extra_passes_are_two_thirds_of_the_teachers_share_of_rows(given, share, k):
    """Counted over whole rounds of step sizes: 2k/3 of a flow step without guidance, 2k/3·(1 + share) with it."""
    for guidance, more in ((1.0, 0.0), (W, share)):
        shortcut = Shortcut(k=k, guidance=guidance, **given)
        count = 8 * 7 * 127
        x, network, teacher = torch.zeros(count, 1), _Recorder(), _Recorder()
        draws = Draws(0, 0, torch.arange(count))
        shortcut.loss(network, x, {"label": torch.zeros(count)}, draws, teacher=teacher)
        rows = [sum(len(call["z"]) for call in asked.calls) for asked in (network, teacher)]
        assert rows[0] == count
        # A flow step is a pass with a gradient, worth three.
        assert rows[1] / (3 * count) == pytest.approx(2 * k / 3 * (1 + more), rel=1e-12)


def test_a_device_without_memory_is_never_asked_for_a_value(monkeypatch):
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)  # knows no meta
    shortcut, teacher = Shortcut(guidance=W, bias=0, clip=4.0), _Recorder()
    x = torch.zeros(64, 3, device="meta")
    shortcut = shortcut.to("meta")
    loss = shortcut.loss(
        _Recorder(), x, {"label": torch.zeros(64, device="meta")}, Draws(0, 0, torch.arange(64, device="meta")),
        teacher=teacher,
    )  # fmt: skip
    assert loss.per_sample.shape == (64,)
    assert [len(call["z"]) for call in teacher.calls] == [19, 19]


def test_the_online_teachers_guidance_has_no_gradient():
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    shortcut = Shortcut(teacher="online", M=2, k=0.5, guidance=W)
    seen = []

    def network(z, t, condition=None, step=None):
        seen.append(torch.is_grad_enabled())
        return weight * z

    x, condition, draws = _batch(8)
    shortcut.loss(network, x, condition, draws).per_sample.sum().backward()
    assert seen == [False, False, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"guidance": W, "flow": FlowMatching(condition_drop=0)}, "condition_drop between 0 and 1, got 0"),
        ({"guidance": W, "flow": FlowMatching(condition_drop=1)}, "condition_drop between 0 and 1, got 1"),
        ({"guidance": float("inf")}, "finite"),
        ({"guidance": float("nan")}, "finite"),
        ({"clip": 1.0}, "more than 1, the noise's scale"),
        ({"clip": 0.0}, "more than 1, the noise's scale"),
        ({"clip": float("inf")}, "more than 1, the noise's scale"),
        ({"clip": float("nan")}, "more than 1, the noise's scale"),
        ({"clip": 4.0, "flow": FlowMatching(path=VarianceExploding())}, "more than 80"),
    ],
)
def test_what_cannot_be_learned_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Shortcut(**arguments)


def test_guidance_asks_for_a_condition():
    shortcut = Shortcut(guidance=W)
    assert shortcut.needs == Needs(step=True, teacher="ema", condition=True)
    x, _, draws = _batch(16)
    with pytest.raises(ValueError, match="needs a condition"):
        shortcut.loss(_Recorder(), x, None, draws, teacher=_Recorder())


def test_more_rows_than_announced_are_refused():
    chosen = torch.tensor([True, False, True])
    with pytest.raises(ValueError, match="2 rows are to be guided, at most 1"):
        guided_rows(_Recorder(), W, chosen, 1)
    shortcut, (x, condition, draws) = Shortcut(M=32, guidance=W), _batch(64)
    finest = {"step": torch.full((64,), shortcut.levels.tolist().index(4))}
    fixed = FixedDraws(noise=draws.normal("noise", (64, 2)), time=draws.uniform("time", (64,)), **finest)
    with pytest.raises(ValueError, match="16 rows are to be guided, at most 1"):
        shortcut.loss(_Recorder(), x, condition, fixed, teacher=_Recorder())


def test_clipping_bounds_the_half_steps_end_and_the_target():
    shortcut, teacher, clip = Shortcut(clip=1.5), _Recorder(), 1.5
    z, condition, draws = _batch(32)
    z = 3 * z
    d = torch.tensor([1, 0.5, 0.25, 0.125] * 8, dtype=torch.float64)
    t = d * torch.ceil(draws.uniform("time", (32,), torch.float64) / d)
    condition = {**condition, "drop": torch.zeros(32, dtype=torch.bool)}
    target = shortcut.target(teacher, z, t, condition, d)
    first = _Recorder()(z, t, condition, d / 2)
    there = (z - d[:, None] / 2 * first).clamp(-clip, clip)
    expected = ((first + _Recorder()(there, t - d / 2, condition, d / 2)) / 2).clamp(-clip, clip)
    assert torch.equal(teacher.calls[1]["z"], there)
    torch.testing.assert_close(target, expected)
    assert float(target.abs().max()) == clip
    free = Shortcut().target(_Recorder(), z, t, condition, d)
    assert float(free.abs().max()) > clip


@pytest.mark.parametrize("clip", [1.2, 4.0])
def test_self_consistency_vanishes_at_the_clipped_fixed_point(clip):
    shortcut, count = Shortcut(M=16, k=0.5, bias=0, clip=clip), 400
    x, _, draws = _batch(count)

    def worst(objective):
        network = mixture().network(objective)
        return float(shortcut.loss(network, x, None, draws, teacher=network).per_sample[::2].max())

    assert worst(shortcut) < 1e-16
    assert (worst(Shortcut(M=16)) > 1e-4) == (clip == 1.2)

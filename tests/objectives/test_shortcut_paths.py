"""Shortcut beyond the straight path: exact wherever the clock is finite and the head gives a velocity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from objectives import Draws, FlowMatching, Shortcut, formulation, sample
from objectives.conformance.common import LEVEL, mixture, zero_mean
from objectives.conformance.objectives import ObjectiveConformance
from objectives.densities import LogitNormal
from objectives.heads import Data, Head, TrigFlow, Velocity, VPrediction
from objectives.heads.base import rows
from objectives.oracle import GaussianMixture
from objectives.paths import Cosine, LDMLinear, Straight, Trig, VarianceExploding
from objectives.shortcut_grid import velocity_gain

FLOWS = {
    "straight": FlowMatching(),
    "straight-data": FlowMatching(head=Data()),
    "straight-v": FlowMatching(head=VPrediction()),
    "cosine": FlowMatching(path=Cosine()),
    "cosine-v": formulation("v/cos"),
    "cosine-epsilon": formulation("eps/cos"),
    "linear": FlowMatching(path=LDMLinear()),
    "linear-v": formulation("v/linear"),
    "linear-epsilon": formulation("eps/linear"),
    "exploding": FlowMatching(path=VarianceExploding(), time=LogitNormal(0.0, 1.0)),
    "exploding-edm": formulation("edm(-1.20,1.20)"),
    "trig": FlowMatching(path=Trig(), head=TrigFlow()),
}
every_flow = pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
bent = pytest.mark.parametrize("name", ["linear", "linear-v", "exploding", "exploding-edm"])


class EqualHalves(Shortcut):
    """A fault: half a step in t taken for half a step in the clock."""

    def halves(self, t, step):
        return t - step / 2, step / 2, step / 2


def _raw(flow, velocity, z, t):
    x, noise = Velocity().decode(flow.path, velocity, z, t)
    return flow.head.target(flow.path, x, noise, t)


def _rows(flow, count, M):
    """z on the mixture's path at times that are multiples of the steps beside them."""
    draws, t_max = Draws(3, 0, torch.arange(count)), flow.path.t_max
    levels = torch.arange(count) % (M.bit_length() - 1)
    binary = 2.0 ** -levels.to(torch.float64)
    t = t_max * binary * torch.ceil(draws.uniform("time", (count,), torch.float64) / binary)
    x = mixture().sample(draws.uniform("component", (count,)), draws.normal("data", (count, 2), torch.float64))
    return flow.mix(x, draws.normal("noise", (count, 2), torch.float64), t), t, t_max * binary


@every_flow
def test_the_exact_flow_map_is_a_fixed_point_of_the_target(flow):
    """What the network gives is what the target asks for, in units of its raw output, to 1e-8."""
    data, shortcut, M = mixture(), Shortcut(flow), 128

    def exact(z, label, condition=None, step=None):
        t = flow.label_time(label)
        scale = flow.head.scale(flow.path, t)
        z = z if scale is None else z / rows(scale, z)
        end = torch.where(t - step < 1e-6, torch.zeros_like(t), t - step)
        change = flow.path.clock(t) - flow.path.clock(end)
        return _raw(flow, (z - data.flow_map(flow.path, z, t, end, steps=200)) / rows(change, z), z, t)

    z, t, d = _rows(flow, 28, M)
    gain = rows(velocity_gain(flow, t), z)
    own = shortcut.velocity(exact, z, t, None, d)
    assert float(((shortcut.target(exact, z, t, None, d) - own) / gain).abs().max()) < 1e-8
    wrong = EqualHalves(flow).target(exact, z, t, None, d) - own
    linear = isinstance(flow.path, LDMLinear | VarianceExploding)
    assert (float((wrong / gain).abs().max()) > 1e-3) == linear


@every_flow
@pytest.mark.parametrize("label", ["finest", "zero"])
def test_self_consistency_vanishes_at_the_oracles_fixed_point(flow, label):
    shortcut, count = Shortcut(flow, M=32, label=label, bias=0), 80
    network, draws = mixture().network(shortcut), Draws(5, 1, torch.arange(count))
    x = draws.normal("data", (count, 2), torch.float64)
    loss = shortcut.loss(network, x, None, draws, teacher=network)
    assert float(loss.per_sample[::4].max()) < 1e-16
    assert float(loss.logs["loss_flow"]) > 0.01
    off = mixture().network(Shortcut(flow, M=16))
    assert float(shortcut.loss(off, x, None, draws, teacher=off).per_sample[::4].max()) > 1e-8


@bent
def test_halves_of_a_step_in_time_are_none_of_the_clock(name):
    flow, count = FLOWS[name], 80
    network, draws = mixture().network(Shortcut(flow, M=32)), Draws(5, 1, torch.arange(count))
    x = draws.normal("data", (count, 2), torch.float64)
    loss = EqualHalves(flow, M=32).loss(network, x, None, draws, teacher=network)
    assert float(loss.per_sample[::4].max()) > 1e-4


@every_flow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_number_of_steps_ends_where_the_finest_end(flow, dtype):
    """From 1 to M: the exact network's steps are the finest Euler steps put together, wherever they begin."""
    shortcut = Shortcut(flow, M=16)
    network, noise = mixture().network(shortcut), Draws(1, 0, torch.arange(8)).normal("noise", (8, 2), dtype)
    last = sample(shortcut, network, noise, None, steps=16)
    assert bool(last.isfinite().all())
    for steps in range(1, 16):
        out = sample(shortcut, network, noise, None, steps=steps)
        torch.testing.assert_close(out, last, rtol=0, atol=1e-11 if dtype == torch.float64 else 1e-3)


@every_flow
def test_training_and_sampling_tell_the_same_steps_and_times(flow):
    shortcut, told = Shortcut(flow, M=8, bias=0), []

    def network(z, t, condition=None, step=None):
        told.append((t, step))
        return torch.zeros_like(z)

    draws = Draws(2, 0, torch.arange(64))
    x = draws.normal("data", (64, 2), torch.float64)
    loss = shortcut.loss(network, x, None, draws, teacher=network)
    trained = {round(float(step) * 8 / flow.path.t_max, 9) for step in loss.steps}
    assert trained == {1, 2, 4, 8}
    at = loss.times[::4] / flow.path.t_max * 8
    torch.testing.assert_close(at, at.round(), rtol=0, atol=1e-9)
    assert float(loss.times.max()) <= flow.path.t_max
    for steps in (1, 2, 3, 8):
        told.clear()
        sample(shortcut, network, x, None, steps=steps)
        for _, step in told:
            assert round(float(step[0]) * 8 / flow.path.t_max, 9) in trained


@every_flow
def test_float32_is_near_float64(flow):
    shortcut, count = Shortcut(flow), 512
    network, draws = mixture().network(shortcut), Draws(5, 2, torch.arange(count))
    x = draws.normal("data", (count, 2), torch.float64)
    losses = [
        shortcut.loss(lambda *asked: 0.9 * network(*asked), x.to(dtype), None, draws, teacher=network).per_sample
        for dtype in (torch.float32, torch.float64)
    ]
    assert bool(losses[0].isfinite().all())
    torch.testing.assert_close(losses[0].double(), losses[1], rtol=1e-2, atol=1e-3)


def test_errors_are_of_the_raw_output():
    """On the exploding path an error of EDM's F weighs the same at every σ, as in the flow's own part."""
    flow = formulation("edm(-1.20,1.20)")
    shortcut, count = Shortcut(flow, M=32, bias=0), 80
    network, draws = mixture().network(shortcut), Draws(5, 1, torch.arange(count))
    x = draws.normal("data", (count, 2), torch.float64)
    loss = shortcut.loss(lambda *asked: network(*asked) + 0.1, x, None, draws, teacher=network)
    torch.testing.assert_close(loss.per_sample[::4], torch.full((20,), 0.01, dtype=torch.float64), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", [name for name in FLOWS if name != "straight"])
def test_the_expected_gradient_is_zero_at_the_exact_network(name):
    kit, shortcut = ObjectiveConformance(), Shortcut(FLOWS[name], M=16, k=0.5)
    kit.rows = 6_000
    data = mixture()
    assert zero_mean(kit.gradients(shortcut, data.network(shortcut))) > LEVEL
    wrong = GaussianMixture(1.2 * data.means, data.stds, data.weights)
    assert zero_mean(kit.gradients(shortcut, wrong.network(shortcut))) < LEVEL


@dataclass(frozen=True)
class Endless(VarianceExploding):
    """Up to σ = ∞."""

    @property
    def t_max(self) -> float:
        return 1.0


class Halting(Straight):
    """Whose clock stands still from the middle on."""

    def clock(self, t: Tensor) -> Tensor:
        return t.clamp(max=0.5)


class Steep(Straight):
    """Whose velocity is infinite at the noise."""

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return -1 / (1 - t), 1 / (1 - t)


class Blind(Head):
    """Whose output says nothing of the velocity."""

    def target(self, path, x, noise, t):
        return torch.zeros_like(x)

    def decode(self, path, raw, z, t):
        return z, torch.zeros_like(z)


@pytest.mark.parametrize(
    ("flow", "reason"),
    [
        (FlowMatching(path=Endless()), "goes from 0 at t = 0 to inf at t = 1"),
        (FlowMatching(path=Halting()), "rises in each of 128 steps"),
        (FlowMatching(path=Steep()), "are not finite at all times above 0"),
        (FlowMatching(head=Blind()), "gives the velocity at all times above 0"),
    ],
)
def test_paths_without_a_mean_velocity_are_refused(flow, reason):
    with pytest.raises(ValueError, match=reason):
        Shortcut(flow)


def test_a_step_is_weighed_by_what_it_takes_of_the_clock():
    """From σ = 80 half the time of the longest step is nearly all of its σ."""
    shortcut = Shortcut(FLOWS["exploding"])
    last = torch.tensor([80 / 81], dtype=torch.float64)
    middle, change, rest = shortcut.halves(last, last)
    assert float(middle) == pytest.approx(40 / 81)
    assert float(rest) == pytest.approx((40 / 81) / (41 / 81))
    assert float(change + rest) == pytest.approx(80)
    assert math.isclose(float(shortcut.time_grid(128)[0]), 80 / 81, rel_tol=0)


class TestShortcutOnABentClock(ObjectiveConformance):
    steps = 3
    rows = 4_000

    def objectives(self):
        return st.builds(
            Shortcut,
            st.sampled_from((FLOWS["exploding-edm"], FLOWS["linear-v"], FLOWS["trig"])),
            M=st.just(256),
            k=st.sampled_from((0.5, 0.25)),
            bias=st.just(0.5),
        )

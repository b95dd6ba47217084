"""Heads: the kit over every head on every path that it can take, and what the others are told."""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st

from objectives import FlowMatching
from objectives.conformance import HeadConformance
from objectives.conformance.common import draws
from objectives.heads import Data, EDMPreconditioned, Epsilon, TrigFlow, Velocity, VPrediction
from objectives.paths import Cosine, LDMLinear, Straight, Trig, VarianceExploding

EVERY = (Straight(), Cosine(), LDMLinear(), VarianceExploding())
T = torch.linspace(0.05, 0.9, 32, dtype=torch.float64)


class TestEpsilon(HeadConformance):
    def heads(self):
        return st.just(Epsilon())

    def paths(self):
        return st.sampled_from(EVERY[1:])


class TestTrigFlow(HeadConformance):
    def heads(self):
        return st.just(TrigFlow())

    def paths(self):
        return st.builds(Trig, st.floats(0.1, 2))


def test_trig_flow_needs_its_path():
    with pytest.raises(ValueError, match="needs the path trig, got Cosine"):
        FlowMatching(path=Cosine(), head=TrigFlow())


class TestVPrediction(HeadConformance):
    def heads(self):
        return st.just(VPrediction())

    def paths(self):
        return st.sampled_from(EVERY)


class TestData(TestVPrediction):
    def heads(self):
        return st.just(Data())


class TestVelocity(TestVPrediction):
    def heads(self):
        return st.just(Velocity())


def test_targets_are_the_papers():
    random, path = draws(32), Cosine()
    x, noise = random.normal("data", (32, 2), torch.float64), random.normal("noise", (32, 2), torch.float64)
    angle = torch.pi / 2 * T[:, None]
    assert torch.equal(Epsilon().target(path, x, noise, T), noise)
    assert torch.equal(Data().target(path, x, noise, T), x)
    v = angle.cos() * noise - angle.sin() * x
    torch.testing.assert_close(VPrediction().target(path, x, noise, T), v)
    torch.testing.assert_close(Velocity().target(path, x, noise, T), torch.pi / 2 * v)


def test_velocity_on_ldm_linear_is_v():
    """In the angle, in which LDM-linear's ODE is integrated, dz/dτ is v-prediction's target."""
    random, path = draws(32), LDMLinear()
    x, noise = random.normal("data", (32, 2), torch.float64), random.normal("noise", (32, 2), torch.float64)
    torch.testing.assert_close(Velocity().target(path, x, noise, T), VPrediction().target(path, x, noise, T))


@pytest.mark.parametrize(
    ("head", "path"),
    [
        (Epsilon(), Cosine()),
        (VPrediction(), Cosine()),
        (Data(), Straight()),
        (Velocity(), Straight()),
        (EDMPreconditioned(), VarianceExploding()),
    ],
)
def test_gains_are_the_derivatives_of_decoding(head, path):
    random = draws(32)
    z, raw, change = (random.normal(name, (32, 3), torch.float64) for name in ("z", "raw", "change"))
    before, after = head.decode(path, raw, z, T), head.decode(path, raw + change, z, T)
    for gain, one, other in zip(head.gains(path, T), before, after, strict=True):
        torch.testing.assert_close(other - one, gain[:, None] * change)


@pytest.mark.parametrize(
    ("head", "path", "message"),
    [
        (Epsilon(), Straight(), "some of the data is left at the end"),
        (Epsilon(), Cosine(1.0), "some of the data is left at the end"),
        (EDMPreconditioned(), Cosine(), "variance_exploding"),
        (EDMPreconditioned(), LDMLinear(), "variance_exploding"),
    ],
)
def test_a_head_that_the_path_cannot_take_is_refused_with_the_reason(head, path, message):
    with pytest.raises(ValueError, match=message):
        FlowMatching(path=path, head=head)

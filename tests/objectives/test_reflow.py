"""Reflow: flow matching on given pairs, which a trained flow's are straight for."""

from __future__ import annotations

import pytest
import torch

from objectives import Draws, FixedDraws, FlowMatching, Needs, Reflow, formulation, sample
from objectives.conformance.common import draws as random
from objectives.conformance.common import mixture
from objectives.conformance.objectives import TinyNetwork
from objectives.couplings import GivenPairs, MinibatchOT
from objectives.heads import Data, VPrediction
from objectives.oracle import GaussianMixture
from objectives.paths import VarianceExploding
from objectives.weightings import MinSNR

ROWS = 32


def _pairs(data, rows=ROWS):
    """(x, draws): data and the noise from which the flow of independent pairs goes to them."""
    draws = Draws(5, 0, torch.arange(rows))
    noise = draws.normal("prior", (rows, 2), torch.float64)
    t = torch.ones(rows, dtype=torch.float64)
    x = data.flow_map(FlowMatching().path, noise, t, torch.zeros_like(t))
    return x, noise, draws.given(noise=noise)


def _gaussian():
    """Data whose flow map is affine, so that the lines of its pairs do not cross and are known."""
    mean, spread = [[1.0, -0.5]], [0.4]
    return GaussianMixture(torch.tensor(mean, dtype=torch.float64), torch.tensor(spread, dtype=torch.float64))


def _straight(z, t, condition=None, step=None):
    """ε − x of the one pair x = μ + s·ε whose line passes z at t."""
    mean, spread = torch.tensor([1.0, -0.5], dtype=torch.float64), 0.4
    noise = (z - (1 - t)[:, None] * mean) / ((1 - t) * spread + t)[:, None]
    return (1 - spread) * noise - mean


def test_it_is_flow_matching_on_the_given_pairs():
    network, flow = TinyNetwork().double(), FlowMatching(weighting=MinSNR(), head=VPrediction())
    x, noise, draws = _pairs(mixture())
    loss = Reflow(flow).loss(network, x, None, draws)
    fixed = FixedDraws(noise=noise, time=draws.uniform("time", (ROWS,), torch.float64))
    torch.testing.assert_close(loss.per_sample, flow.loss(network, x, None, fixed).per_sample)
    torch.testing.assert_close(loss.logs["loss_flow"], flow.loss(network, x, None, fixed).logs["loss_flow"])
    assert loss.times is not None
    assert torch.equal(loss.times, fixed.uniform("time", (ROWS,)))
    again = Reflow(FlowMatching(flow.path, weighting=MinSNR(), head=VPrediction(), coupling=GivenPairs()))
    assert torch.equal(again.loss(network, x, None, draws).per_sample, loss.per_sample)


def test_on_pairs_of_a_flow_the_residual_vanishes_at_the_straight_flow_and_not_at_the_old_one():
    x, _, draws = _pairs(_gaussian())
    assert float(Reflow().loss(_straight, x, None, draws).per_sample.max()) < 1e-16
    old = _gaussian().network(FlowMatching())
    assert float(Reflow().loss(old, x, None, draws).per_sample.max()) > 1e-2


def test_one_step_of_the_straight_flow_is_the_old_flows_map():
    x, noise, _ = _pairs(_gaussian())
    for steps in (1, 3):
        torch.testing.assert_close(sample(Reflow(), _straight, noise, None, steps=steps), x, rtol=1e-8, atol=1e-8)
    old = sample(Reflow(), _gaussian().network(Reflow()), noise, None, steps=1)
    assert float((old - x).abs().max()) > 0.3


def test_independent_pairs_have_the_flow_of_flow_matching():
    data = mixture()
    z = random(8).normal("noise", (8, 2), torch.float64)
    t = random(8).uniform("time", (8,), torch.float64)
    for head in (None, Data()):
        flow = FlowMatching() if head is None else FlowMatching(head=head)
        torch.testing.assert_close(data.network(Reflow(flow))(z, t), data.network(flow)(z, t))


def test_batches_without_noise_are_refused():
    x, _, _ = _pairs(_gaussian())
    with pytest.raises(ValueError, match="carry their own noise"):
        Reflow().loss(_straight, x, None, Draws(5, 0, torch.arange(ROWS)))


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        (formulation("edm/rf"), "path straight"),
        (FlowMatching(path=VarianceExploding()), "path straight"),
        (FlowMatching(coupling=MinibatchOT(4)), "pairs are given"),
    ],
)
def test_flows_that_cannot_be_reflowed_are_refused(flow, message):
    with pytest.raises(ValueError, match=message):
        Reflow(flow)


def test_the_rest_is_flow_matchings():
    reflow, flow, network = Reflow(formulation("rf/lognorm(0,1)")), formulation("rf/lognorm(0,1)"), TinyNetwork()
    x, noise, draws = (value for value in _pairs(_gaussian()))
    network.double()
    t = draws.uniform("time", (ROWS,), torch.float64)
    torch.testing.assert_close(reflow.loss_at(network, x, None, t, noise), flow.loss_at(network, x, None, t, noise))
    torch.testing.assert_close(reflow.velocity(network, x, t, None), flow.velocity(network, x, t, None))
    torch.testing.assert_close(reflow.predict(network, x, t, None), flow.predict(network, x, t, None))
    assert torch.equal(reflow.time_grid(7), flow.time_grid(7))
    assert reflow.solvers == flow.solvers
    with pytest.raises(ValueError, match="at least 1"):
        reflow.time_grid(0)


def test_labels_and_needs():
    assert Reflow().notation == "reflow"
    assert Reflow(formulation("rf/lognorm(0,1)")).notation == "reflow/rf/lognorm(0.00,1.00)"
    assert Reflow(FlowMatching(coupling=GivenPairs())).notation == "reflow"
    assert Reflow().needs == Needs(pairs=True)
    assert Reflow().batch_multiple == 1

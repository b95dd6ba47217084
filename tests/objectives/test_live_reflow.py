"""Live reflow: which rows are reflowed, how their pairs are made, and which flow is sampled."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from objectives import Draws, FixedDraws, FlowMatching, LiveReflow, Needs, formulation, sample
from objectives.conformance.common import mixture
from objectives.conformance.objectives import TinyNetwork
from objectives.exact_distilled import live_reflow
from objectives.heads import VPrediction
from objectives.oracle import GaussianMixture
from objectives.paths import VarianceExploding
from objectives.weightings import MinSNR


class _Recorder:
    """A network that remembers what it was asked."""

    def __init__(self):
        self.calls = []

    def __call__(self, z, t, condition=None, step=None):
        self.calls.append({"z": z, "t": t, "condition": condition, "step": step, "grad": torch.is_grad_enabled()})
        out = torch.tanh(z) * (1 + t + step)[:, None]
        if condition is not None:
            drop = condition.get("drop", torch.zeros(len(z), dtype=torch.bool))
            out = out + torch.where(drop, -1.0, condition["label"].to(z.dtype))[:, None]
        return out


def _batch(rows, step=0):
    draws = Draws(5, step, torch.arange(rows))
    return draws.normal("data", (rows, 2), torch.float64), draws


def _end_by_hand(noise, steps, finest):
    z = noise
    for i in range(steps):
        z = z - torch.tanh(z) * (1 + 1 - i / steps + finest) / steps
    return z


@pytest.mark.parametrize("steps", [1, 8])
@pytest.mark.parametrize("k", [0.5, 0.25, 1 / 8])
def test_rows_times_and_labels(k, steps):
    network, objective = _Recorder(), LiveReflow(k=k, steps=steps)
    x, draws = _batch(64)
    loss = objective.loss(network, x, None, draws)
    *making, call = network.calls
    group = round(1 / k)
    first = torch.arange(64) % group == 0
    assert [len(made["z"]) for made in making] == [64 // group] * steps
    assert [made["t"].unique().tolist() for made in making] == [[1 - i / steps] for i in range(steps)]
    assert all(bool((made["step"] == 1 / 128).all()) for made in making)
    assert not any(made["grad"] for made in making)
    assert call["grad"]
    assert bool((call["step"] == torch.where(first, 1.0, 1 / 128)).all())
    torch.testing.assert_close(call["t"], draws.uniform("time", (64,), torch.float64))
    assert loss.times is not None
    assert loss.steps is not None
    assert torch.equal(loss.times, call["t"])
    assert torch.equal(loss.steps, call["step"])


@pytest.mark.parametrize("weighting", [None, MinSNR()])
def test_the_loss_is_flow_matchings_on_data_and_on_what_the_flow_makes_of_noise(weighting):
    flow = FlowMatching() if weighting is None else FlowMatching(weighting=weighting)
    objective = LiveReflow(flow, k=0.25, steps=5, M=16)
    network = _Recorder()
    x, draws = _batch(16)
    noise, t = draws.normal("noise", (16, 2), torch.float64), draws.uniform("time", (16,), torch.float64)
    loss = objective.loss(network, x, None, draws)
    first = torch.arange(16) % 4 == 0
    ends = torch.where(first[:, None], _end_by_hand(noise, 5, 1 / 16), x)
    z = (1 - t)[:, None] * ends + t[:, None] * noise
    out = torch.tanh(z) * (1 + t + torch.where(first, 1.0, 1 / 16))[:, None]
    errors = (out - (noise - ends)).square().mean(1)
    torch.testing.assert_close(loss.per_sample, flow.weighted(errors, t))
    torch.testing.assert_close(loss.logs["loss_flow"], errors[~first].mean())
    torch.testing.assert_close(loss.logs["loss_reflow"], errors[first].mean())


@pytest.mark.parametrize("head", [None, VPrediction()])
@pytest.mark.parametrize("data", [mixture(), GaussianMixture(torch.tensor([[1.0, -0.5]]), torch.tensor([0.4]))])
def test_reflowed_rows_vanish_at_the_exact_lines_and_not_at_the_flow(data, head):
    flow = FlowMatching() if head is None else FlowMatching(head=head)
    objective = LiveReflow(flow, k=0.5)
    network = live_reflow(data, objective)
    x, draws = _batch(64)
    loss = objective.loss(network, x, None, draws)
    assert float(loss.per_sample[::2].max()) < 1e-16
    assert float(loss.logs["loss_reflow"]) < 1e-16
    assert float(loss.logs["loss_flow"]) > 0.1
    flow_alone = data.network(flow)
    wrong = objective.loss(lambda z, t, condition, step: flow_alone(z, t), x, None, draws)
    assert float(wrong.per_sample[::2].max()) > 1e-2


@pytest.mark.parametrize("autocast", [False, True])
def test_pairs_are_made_without_a_gradient(autocast):
    network, objective = TinyNetwork(), LiveReflow(k=0.5)
    frozen = copy.deepcopy(network)
    x, draws = _batch(32)

    def half(z, t, condition=None, step=None):
        """The network where there is a gradient, a copy where there is none."""
        return (network if torch.is_grad_enabled() else frozen)(z, t, condition, step)

    def gradients(asked):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = objective.loss(asked, x.float(), None, draws).per_sample.mean()
        return torch.autograd.grad(loss, list(network.parameters()))

    for one, other in zip(gradients(network), gradients(half), strict=True):
        assert bool(one.any())
        torch.testing.assert_close(one, other)


def test_guidance_is_in_the_making_of_pairs_alone():
    objective, network = LiveReflow(FlowMatching(condition_drop=0.0), k=0.5, steps=3, guidance=3.0), _Recorder()
    x, draws = _batch(8)
    condition = {"label": torch.arange(8)}
    objective.loss(network, x, condition, draws)
    assert [len(call["z"]) for call in network.calls] == [8, 8, 8, 8]
    for call in network.calls[:3]:
        assert torch.equal(call["condition"]["label"], torch.arange(0, 8, 2).repeat(2))
        assert call["condition"]["drop"].tolist() == [False] * 4 + [True] * 4
    noise = draws.normal("noise", (8, 2), torch.float64)
    z = noise[::2]
    for i in range(3):
        out = torch.tanh(z) * (2 - i / 3 + 1 / 128)
        z = z - (out - 1 + 3 * (torch.arange(0, 8, 2)[:, None] + 1)) / 3
    torch.testing.assert_close(objective.end(_Recorder(), noise[::2], {"label": torch.arange(0, 8, 2)},
                                             dtype=torch.float64), z)  # fmt: skip
    assert objective.needs.condition
    with pytest.raises(ValueError, match="needs a condition"):
        objective.loss(network, x, None, draws)


def test_a_pair_is_made_with_the_condition_that_it_is_learned_with():
    network, objective = _Recorder(), LiveReflow(FlowMatching(condition_drop=0.5), k=0.25)
    x, draws = _batch(64)
    objective.loss(network, x, {"label": torch.arange(64)}, draws)
    *making, call = network.calls
    drop = call["condition"]["drop"]
    assert 16 < int(drop.sum()) < 48
    assert bool(drop[::4].any())
    assert not bool(drop[::4].all())
    for made in making:
        assert torch.equal(made["condition"]["drop"], drop[::4])
        assert torch.equal(made["condition"]["label"], torch.arange(64)[::4])


def test_the_network_is_fed_in_the_batchs_dtype():
    network, objective = _Recorder(), LiveReflow(k=0.5)
    x, draws = _batch(8)
    loss = objective.loss(network, x.bfloat16(), None, draws)
    assert {call["z"].dtype for call in network.calls} == {torch.bfloat16}
    assert loss.per_sample.dtype == torch.float32


@pytest.mark.parametrize(("steps", "told"), [(1, 1.0), (4, 1.0), (15, 1.0), (16, 1 / 16), (20, 1 / 16)])
def test_few_steps_ask_for_the_reflowed_flow_and_M_or_more_for_the_flow(steps, told):
    network, objective = _Recorder(), LiveReflow(M=16)
    noise = _batch(4)[0]
    _, nfe = sample(objective, network, noise, None, steps=steps, return_nfe=True)
    assert nfe == steps
    assert all(bool((call["step"] == told).all()) for call in network.calls)
    even = [1 - i / steps for i in range(steps)]
    assert [call["t"][0].item() for call in network.calls] == pytest.approx(even)


def test_one_step_is_what_the_pairs_of_the_flow_say():
    data, objective = mixture(), LiveReflow(steps=8)
    noise = _batch(16)[0]
    eight = sample(objective.flow, data.network(objective.flow), noise, None, steps=8, solver="euler")
    for steps in (1, 3):
        out = sample(objective, data.network(objective), noise, None, steps=steps)
        torch.testing.assert_close(out, eight, rtol=1e-7, atol=1e-7)


def test_validation_asks_for_the_flow():
    network, objective = _Recorder(), LiveReflow()
    x, draws = _batch(6)
    t, noise = draws.uniform("time", (6,), torch.float64), draws.normal("noise", (6, 2), torch.float64)
    errors = objective.loss_at(network, x, None, t, noise)
    assert bool((network.calls[0]["step"] == 1 / 128).all())
    z = (1 - t)[:, None] * x + t[:, None] * noise
    torch.testing.assert_close(errors, (torch.tanh(z) * (1 + t + 1 / 128)[:, None] - noise + x).square().mean(1))


def test_noise_and_times_are_flow_matchings_own():
    x, draws = _batch(8)
    fixed = FixedDraws(
        noise=draws.normal("noise", (8, 2), torch.float64), time=draws.uniform("time", (8,), torch.float64)
    )
    one, other = (LiveReflow().loss(_Recorder(), x, None, each).per_sample for each in (draws, fixed))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0.3}, "share k"),
        ({"k": 1.0}, "share k"),
        ({"k": 0.0}, "share k"),
        ({"k": 1 / 65}, "share k"),
        ({"steps": 0}, "steps for its pairs"),
        ({"M": 1}, "as M"),
        ({"guidance": math.nan}, "finite number as guidance"),
        ({"flow": formulation("edm/rf")}, "path straight"),
        ({"flow": FlowMatching(path=VarianceExploding())}, "path straight"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LiveReflow(**arguments)


def test_wrong_batches_are_refused():
    x, draws = _batch(12)
    with pytest.raises(ValueError, match="multiple of 8, got 12"):
        LiveReflow().loss(_Recorder(), x, None, draws)


def test_labels_and_needs():
    assert LiveReflow().notation == "live_reflow"
    assert LiveReflow(formulation("rf/lognorm(0,1)")).notation == "live_reflow/rf/lognorm(0.00,1.00)"
    assert LiveReflow().needs == Needs(step=True)
    assert LiveReflow().batch_multiple == 8

"""Consistency distillation: its target, its boundary, whose jump it takes, and sampling with fresh noise."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from objectives import ConsistencyDistillation, Draws, FixedDraws, FlowMatching, Needs, formulation, sample
from objectives.conformance.common import mixture
from objectives.conformance.objectives import TinyNetwork
from objectives.heads import Data, VPrediction
from objectives.paths import VarianceExploding
from objectives.weightings import MinSNR


class _Recorder:
    """A network that remembers what it was asked, and takes no step."""

    def __init__(self, gain=1.0):
        self.calls, self.gain = [], gain

    def __call__(self, z, t, condition=None):
        self.calls.append({"z": z, "t": t, "condition": condition, "grad": torch.is_grad_enabled()})
        out = self.gain * torch.tanh(z) * (1 + t)[:, None]
        if condition is not None:
            drop = condition.get("drop", torch.zeros(len(z), dtype=torch.bool))
            out = out + torch.where(drop, -1.0, condition["label"].to(z.dtype))[:, None]
        return out


def _batch(rows, step=0):
    draws = Draws(5, step, torch.arange(rows))
    return draws.normal("data", (rows, 2), torch.float64), draws


def _goal_by_hand(teacher, student, z, t, M):
    moved = z - teacher(z, t) / M
    end = moved - (t - 1 / M)[:, None] * student(moved, t - 1 / M)
    return (z - end) / t[:, None]


def test_the_residual_vanishes_at_the_exact_function_after_the_teachers_exact_step():
    data, objective = mixture(), ConsistencyDistillation(M=8)

    def over_a_step(z, t, condition=None):
        return (z - data.flow_map(objective.path, z, t, t - 1 / 8)) * 8

    def to_the_end(z, t, condition=None):
        place = t > 0
        t = torch.where(place, t, torch.ones_like(t))
        return (z - data.flow_map(objective.path, z, t, torch.zeros_like(t))) / t[:, None]

    z, draws = _batch(24)
    t = torch.ceil(draws.uniform("time", (24,), torch.float64) * 8) / 8
    residual = objective.goal(over_a_step, to_the_end, z, t, None) - to_the_end(z, t)
    assert float(residual.abs().max()) < 1e-8
    wrong = objective.goal(data.network(objective.flow), to_the_end, z, t, None) - to_the_end(z, t)
    assert float(wrong.abs().max()) > 1e-4


@pytest.mark.parametrize("head", [None, VPrediction(), Data()])
def test_the_loss_vanishes_at_what_all_of_the_teachers_steps_make(head):
    flow = FlowMatching() if head is None else FlowMatching(head=head)
    objective, data = ConsistencyDistillation(flow, M=16), mixture()
    network, teacher = data.network(objective), data.network(flow)
    x, draws = _batch(64)
    loss = objective.loss(network, x, None, draws, teacher=teacher, average=network)
    assert float(loss.per_sample.max()) < 1e-16
    assert float(loss.logs["loss_distillation"]) < 1e-16
    finer = data.network(ConsistencyDistillation(flow, M=32))
    for wrong in ({"teacher": finer, "average": network}, {"teacher": teacher, "average": finer}):
        assert float(objective.loss(network, x, None, draws, **wrong).per_sample.max()) > 1e-6


def test_one_step_is_all_of_the_teachers():
    objective, data = ConsistencyDistillation(M=32), mixture()
    noise = _batch(16)[0]
    steps = sample(objective.flow, data.network(objective.flow), noise, None, steps=32, solver="euler")
    torch.testing.assert_close(sample(objective, data.network(objective), noise, None, steps=1), steps)


@pytest.mark.parametrize("head", [None, Data()])
def test_next_to_the_data_the_target_is_the_teachers_step_whatever_the_student_says(head):
    flow = FlowMatching() if head is None else FlowMatching(head=head)
    objective = ConsistencyDistillation(flow, M=4)
    z, _ = _batch(6)
    t = torch.full((6,), 0.25, dtype=torch.float64)
    goal = objective.goal(_Recorder(), _Recorder(gain=100.0), z, t, None)
    torch.testing.assert_close(goal, flow.velocity(_Recorder(), z, t, None))


def test_the_loss_is_the_mean_square_of_the_velocitys_error_and_targets_get_no_gradient():
    network, teacher, average = TinyNetwork().double(), _Recorder(), _Recorder(gain=0.5)
    objective = ConsistencyDistillation(M=4)
    x, draws = _batch(8)
    noise = draws.normal("noise", (8, 2), torch.float64)
    t = torch.ceil(draws.uniform("time", (8,), torch.float64) * 4) / 4
    loss = objective.loss(network, x, None, draws, teacher=teacher, average=average)
    z = (1 - t)[:, None] * x + t[:, None] * noise
    expected = (network(z, t) - _goal_by_hand(_Recorder(), _Recorder(gain=0.5), z, t, 4)).square().mean(1)
    torch.testing.assert_close(loss.per_sample, expected)
    torch.testing.assert_close(loss.logs["loss_distillation"], expected.detach().mean())
    assert loss.times is not None
    assert torch.equal(loss.times, t)
    assert [len(call["z"]) for call in (*teacher.calls, *average.calls)] == [8, 8]
    assert not any(call["grad"] for call in (*teacher.calls, *average.calls))
    found, sought = (torch.autograd.grad(v.sum(), list(network.parameters())) for v in (loss.per_sample, expected))
    for one, other in zip(found, sought, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("autocast", [False, True])
def test_an_online_target_is_the_networks_own_without_a_gradient(autocast):
    network = TinyNetwork()
    online = ConsistencyDistillation(target="online")
    assert online.needs == Needs(teacher="frozen")
    x, draws = _batch(32)

    def gradients(objective, **parts):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = objective.loss(network, x.float(), None, draws, teacher=_Recorder(), **parts).per_sample.mean()
        return torch.autograd.grad(loss, list(network.parameters()))

    ema = gradients(ConsistencyDistillation(), average=copy.deepcopy(network))
    for one, other in zip(gradients(online), ema, strict=True):
        assert bool(one.any())
        torch.testing.assert_close(one, other)


@given(st.sampled_from((2, 5, 128)), st.sampled_from(("rf", "rf/lognorm(0.3,0.7)")))
def test_times_are_the_flows_own_rounded_up_to_the_teachers_grid(M, name):
    objective, network = ConsistencyDistillation(formulation(name), M=M), _Recorder()
    x, draws = _batch(256)
    objective.loss(network, x, None, draws, teacher=_Recorder(), average=_Recorder())
    t = network.calls[0]["t"]
    drawn = objective.flow.times(draws.uniform("time", (256,), torch.float64))
    torch.testing.assert_close(t, torch.ceil(drawn * M) / M)
    assert float(t.min()) >= 1 / M
    assert float(t.max()) <= 1


def test_a_time_that_rounds_to_the_end_of_the_path_stays_there():
    objective, network = ConsistencyDistillation(formulation("rf/lognorm(10.00,10.00)"), M=4), _Recorder()
    fixed = FixedDraws(noise=torch.zeros(2, 2), time=torch.tensor([0.5, 1 - 2.0**-24]))
    objective.loss(network, torch.zeros(2, 2), None, fixed, teacher=_Recorder(), average=_Recorder())
    assert network.calls[0]["t"].tolist() == [1.0, 1.0]


def test_guidance_asks_the_teacher_once_for_both_parts_and_the_student_for_one():
    flow = FlowMatching(condition_drop=0.0)
    objective, teacher, average = ConsistencyDistillation(flow, M=4, guidance=3.0), _Recorder(), _Recorder()
    z, _ = _batch(6)
    t, condition = torch.full((6,), 0.75, dtype=torch.float64), {"label": torch.arange(6)}
    goal = objective.goal(teacher, average, z, t, condition)
    assert [len(call["z"]) for call in (*teacher.calls, *average.calls)] == [12, 6]
    moved = z - (torch.tanh(z) * 1.75 - 1 + 3 * (torch.arange(6)[:, None] + 1)) / 4
    end = moved - 0.5 * (torch.tanh(moved) * 1.5 + torch.arange(6)[:, None])
    torch.testing.assert_close(goal, (z - end) / 0.75)
    assert objective.needs.condition
    with pytest.raises(ValueError, match="needs a condition"):
        objective.goal(teacher, average, z, t, None)


def test_all_networks_have_the_same_condition_dropped():
    network, teacher, average = _Recorder(), _Recorder(), _Recorder()
    x, draws = _batch(64)
    objective = ConsistencyDistillation(FlowMatching(condition_drop=0.5))
    objective.loss(network, x, {"label": torch.arange(64)}, draws, teacher=teacher, average=average)
    drop = network.calls[0]["condition"]["drop"]
    assert 16 < int(drop.sum()) < 48
    assert all(torch.equal(call["condition"]["drop"], drop) for call in (*teacher.calls, *average.calls))


# -- sampling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_sampling_goes_to_the_data_and_back_with_fresh_noise(steps):
    objective, network = ConsistencyDistillation(), TinyNetwork().double()
    draws = Draws(3, 0, torch.arange(4))
    z = noise = draws.normal("noise", (4, 2), torch.float64)
    out, nfe = sample(objective, network, noise, None, steps=steps, draws=draws, return_nfe=True)
    for i in range(steps):
        t, after = 1 - i / steps, 1 - (i + 1) / steps
        z = z - t * network(z, torch.full((4,), t, dtype=torch.float64))
        if after:
            z = (1 - after) * z + after * draws.normal(f"renoise{i}", (4, 2), torch.float64)
    torch.testing.assert_close(out, z)
    assert nfe == steps


@given(st.sampled_from((2, 7, 128)), st.data())
def test_sampling_times_are_those_of_the_training_as_even_as_these_can_be(M, data):
    steps = data.draw(st.integers(1, M))
    grid = ConsistencyDistillation(M=M).time_grid(steps)
    assert grid.dtype == torch.float64
    assert (len(grid), float(grid[0]), float(grid[-1])) == (steps + 1, 1.0, 0.0)
    assert bool((grid.diff() < 0).all())
    assert torch.equal(grid, torch.round(grid * M) / M)
    even = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    assert float((grid - even).abs().max()) <= 0.5 / M + 1e-12


def test_more_steps_than_M_are_refused():
    with pytest.raises(ValueError, match="from 1 to 128, got 129"):
        ConsistencyDistillation().time_grid(129)


def test_a_prediction_adds_up_to_z():
    objective, network = ConsistencyDistillation(), TinyNetwork().double()
    z, draws = _batch(8)
    t = draws.uniform("time", (8,), torch.float64)
    x, noise = objective.predict(network, z, t, None)
    torch.testing.assert_close((1 - t)[:, None] * x + t[:, None] * noise, z)
    torch.testing.assert_close(x, z - t[:, None] * objective.velocity(network, z, t, None))


# -- the rest ---------------------------------------------------------------------------------------------------------


def test_noise_and_times_are_flow_matchings_own():
    x, draws = _batch(8)
    fixed = FixedDraws(
        noise=draws.normal("noise", (8, 2), torch.float64), time=draws.uniform("time", (8,), torch.float64)
    )
    one, other = (
        ConsistencyDistillation().loss(_Recorder(), x, None, each, teacher=_Recorder(), average=_Recorder()).per_sample
        for each in (draws, fixed)
    )
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"M": 1}, "2 to 65536 steps as M"),
        ({"M": 2**17}, "2 to 65536 steps as M"),
        ({"guidance": math.nan}, "finite number as guidance"),
        ({"target": "frozen"}, "ema, online"),
        ({"flow": formulation("edm/rf")}, "path straight"),
        ({"flow": FlowMatching(path=VarianceExploding())}, "path straight"),
        ({"flow": FlowMatching(weighting=MinSNR())}, "no weighting"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConsistencyDistillation(**arguments)


def test_missing_teachers_are_refused():
    x, draws = _batch(4)
    with pytest.raises(ValueError, match="teacher=a network"):
        ConsistencyDistillation().loss(_Recorder(), x, None, draws, average=_Recorder())
    with pytest.raises(ValueError, match="average=a network"):
        ConsistencyDistillation().loss(_Recorder(), x, None, draws, teacher=_Recorder())


def test_labels_and_needs():
    assert ConsistencyDistillation().notation == "consistency_distillation"
    name = ConsistencyDistillation(formulation("rf/lognorm(0,1)")).notation
    assert name == "consistency_distillation/rf/lognorm(0.00,1.00)"
    assert ConsistencyDistillation().needs == Needs(teacher="frozen", average=True)

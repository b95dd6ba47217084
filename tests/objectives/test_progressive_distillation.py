"""Progressive distillation: its phases, its targets, its guidance, and the whole way down to one step."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from objectives import Draws, FixedDraws, FlowMatching, Needs, ProgressiveDistillation, Shortcut, formulation, sample
from objectives.conformance.common import mixture
from objectives.conformance.objectives import TinyNetwork
from objectives.exact_distilled import progressive_distillation
from objectives.heads import Data, VPrediction
from objectives.paths import VarianceExploding
from objectives.weightings import MinSNR


class _Recorder:
    """A network that remembers what it was asked, and takes no step."""

    def __init__(self):
        self.calls = []

    def __call__(self, z, t, condition=None):
        self.calls.append({"z": z, "t": t, "condition": condition, "grad": torch.is_grad_enabled()})
        out = torch.tanh(z) * (1 + t)[:, None]
        if condition is not None:
            drop = condition.get("drop", torch.zeros(len(z), dtype=torch.bool))
            out = out + torch.where(drop, -1.0, condition["label"].to(z.dtype))[:, None]
        return out


def _batch(rows, step=0):
    draws = Draws(5, step, torch.arange(rows))
    return draws.normal("data", (rows, 2), torch.float64), draws


def test_target_is_the_mean_of_two_half_steps_each_at_its_own_time():
    teacher, objective = _Recorder(), ProgressiveDistillation()
    z, draws = _batch(8)
    d = torch.full((8,), 0.25, dtype=torch.float64)
    t = d * torch.ceil(draws.uniform("time", (8,), torch.float64) / d)
    target = objective.target(teacher, z, t, None, d)
    first, second = teacher.calls
    u1 = torch.tanh(z) * (1 + t)[:, None]
    middle = z - u1 / 8
    u2 = torch.tanh(middle) * (1 + t - 1 / 8)[:, None]
    torch.testing.assert_close(second["z"], middle)
    torch.testing.assert_close(first["t"] - second["t"], d / 2)
    torch.testing.assert_close(target, (u1 + u2) / 2)


@pytest.mark.parametrize("length", [1 / 64, 1 / 4, 1.0])
def test_the_exact_flow_map_is_a_fixed_point_of_the_target(length):
    data, objective = mixture(), ProgressiveDistillation()

    def over(d):
        return lambda z, t, condition=None: (z - data.flow_map(objective.path, z, t, t - d)) / d

    z, draws = _batch(14)
    step = torch.full((14,), length, dtype=torch.float64)
    t = step * torch.ceil(draws.uniform("time", (14,), torch.float64) / step)
    target = objective.target(over(length / 2), z, t, None, step)
    assert float((target - over(length)(z, t)).abs().max()) < 1e-8
    wrong = objective.target(over(length), z, t, None, step)
    assert float((wrong - over(length)(z, t)).abs().max()) > 1e-5


@pytest.mark.parametrize("head", [None, VPrediction(), Data()])
def test_in_every_phase_the_loss_vanishes_at_what_the_teachers_two_steps_make(head):
    flow = FlowMatching() if head is None else FlowMatching(head=head)
    objective, data = ProgressiveDistillation(flow, M=16), mixture()
    for phase in range(4):
        teacher, student = (progressive_distillation(data, objective, done) for done in (phase, phase + 1))
        x, draws = _batch(32)
        progress = (phase + 0.5) / 4
        loss = objective.loss(student, x, None, draws, teacher=teacher, progress=progress)
        assert float(loss.per_sample.max()) < 1e-16
        assert float(loss.logs["loss_distillation"]) < 1e-16
        unmoved = objective.loss(teacher, x, None, draws, teacher=teacher, progress=progress)
        assert float(unmoved.per_sample.max()) > 1e-5


def test_the_last_student_takes_the_first_teachers_steps_in_one():
    objective, data = ProgressiveDistillation(M=32), mixture()
    noise = _batch(16)[0]
    steps = sample(objective.flow, data.network(objective.flow), noise, None, steps=32, solver="euler")
    torch.testing.assert_close(sample(objective, data.network(objective), noise, None, steps=1), steps)
    for done in range(5):
        student = progressive_distillation(data, objective, done)
        torch.testing.assert_close(sample(objective, student, noise, None, steps=32 >> done), steps)


@given(st.integers(1, 7), st.integers(1, 200))
def test_each_phase_has_its_share_of_the_training_and_its_step(phases, extra):
    """Phase i begins at step ⌈i·N/phases⌉; its student learns d = 2^(i+1)/M at the multiples of it."""
    objective, last = ProgressiveDistillation(M=2**phases), phases + extra
    begins = [math.ceil(i * last / phases) for i in range(phases)]
    assert objective.phases == phases
    for step in {*begins, *(max(begin - 1, 0) for begin in begins), last - 1}:
        x, draws = _batch(6, step)
        network = _Recorder()
        loss = objective.loss(network, x, None, draws, teacher=_Recorder(), progress=step / last)
        d = 2.0 ** (sum(begin <= step for begin in begins) - phases)
        t = network.calls[0]["t"]
        assert loss.times is not None
        assert loss.steps is not None
        assert loss.steps.tolist() == [d] * 6
        assert torch.equal(loss.times, t)
        assert bool((t / d == (t / d).round()).all() and (t >= d).all() and (t <= 1).all())


def test_times_are_the_flows_own_rounded_up_to_whole_steps():
    for flow in (FlowMatching(), formulation("rf/lognorm(0.3,0.7)")):
        objective, network = ProgressiveDistillation(flow, M=16), _Recorder()
        x, draws = _batch(2000)
        objective.loss(network, x, None, draws, teacher=_Recorder(), progress=0.3)
        drawn = flow.times(draws.uniform("time", (2000,), torch.float64))
        assert torch.equal(network.calls[0]["t"], torch.ceil(drawn * 4) / 4)
        assert sorted(set(network.calls[0]["t"].tolist())) == [0.25, 0.5, 0.75, 1.0]


def test_the_loss_is_the_mean_square_of_the_velocitys_error_and_the_teacher_gets_no_gradient():
    network, teacher, objective = TinyNetwork().double(), _Recorder(), ProgressiveDistillation(M=4)
    x, draws = _batch(8)
    noise = draws.normal("noise", (8, 2), torch.float64)
    t = torch.ceil(draws.uniform("time", (8,), torch.float64) * 2) / 2
    loss = objective.loss(network, x, None, draws, teacher=teacher)
    z = (1 - t)[:, None] * x + t[:, None] * noise
    target = objective.target(_Recorder(), z, t, None, torch.full_like(t, 0.5))
    expected = (network(z, t) - target).square().mean(1)
    torch.testing.assert_close(loss.per_sample, expected)
    torch.testing.assert_close(loss.logs["loss_distillation"], expected.detach().mean())
    assert [len(call["z"]) for call in teacher.calls] == [8, 8]
    assert not any(call["grad"] for call in teacher.calls)
    found, sought = (torch.autograd.grad(v.sum(), list(network.parameters())) for v in (loss.per_sample, expected))
    for one, other in zip(found, sought, strict=True):
        torch.testing.assert_close(one, other)


def test_guidance_is_the_first_phases_alone():
    objective = ProgressiveDistillation(FlowMatching(condition_drop=0.0), M=8, guidance=3.0)
    x, draws = _batch(6)
    condition = {"label": torch.arange(6)}
    for progress, calls in ((0.0, 12), (0.4, 6), (0.9, 6)):
        teacher = _Recorder()
        objective.loss(_Recorder(), x, condition, draws, teacher=teacher, progress=progress)
        assert [len(call["z"]) for call in teacher.calls] == [calls, calls]
    z, t, d = x, torch.full((6,), 0.5, dtype=torch.float64), torch.full((6,), 0.25, dtype=torch.float64)
    target = objective.target(_Recorder(), z, t, condition, d, guidance=3.0)

    def velocity(z, t):  # −1 + 3·(label + 1) in place of label
        return torch.tanh(z) * (1 + t)[:, None] - 1 + 3 * (torch.arange(6)[:, None] + 1)

    first = velocity(z, t)
    torch.testing.assert_close(target, (first + velocity(z - first / 8, t - 1 / 8)) / 2)


def test_guidance_without_a_condition_is_refused():
    x, draws = _batch(4)
    assert ProgressiveDistillation(guidance=2.0).needs.condition
    with pytest.raises(ValueError, match="needs a condition"):
        ProgressiveDistillation(guidance=2.0).loss(_Recorder(), x, None, draws, teacher=_Recorder())


def test_teacher_and_student_have_the_same_condition_dropped():
    network, teacher = _Recorder(), _Recorder()
    x, draws = _batch(64)
    objective = ProgressiveDistillation(FlowMatching(condition_drop=0.5))
    objective.loss(network, x, {"label": torch.arange(64)}, draws, teacher=teacher)
    drop = network.calls[0]["condition"]["drop"]
    assert 16 < int(drop.sum()) < 48
    assert all(torch.equal(call["condition"]["drop"], drop) for call in teacher.calls)


@given(st.sampled_from((2, 8, 128)), st.data())
def test_grids_are_shortcuts(M, data):
    steps = data.draw(st.integers(1, M))
    assert torch.equal(ProgressiveDistillation(M=M).time_grid(steps), Shortcut(M=M).time_grid(steps))


def test_more_steps_than_M_are_refused():
    with pytest.raises(ValueError, match="from 1 to 128, got 129"):
        ProgressiveDistillation().time_grid(129)


def test_noise_and_times_are_flow_matchings_own():
    x, draws = _batch(8)
    fixed = FixedDraws(
        noise=draws.normal("noise", (8, 2), torch.float64), time=draws.uniform("time", (8,), torch.float64)
    )
    one, other = (
        ProgressiveDistillation().loss(_Recorder(), x, None, each, teacher=_Recorder()).per_sample
        for each in (draws, fixed)
    )
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"M": 100}, "power of two"),
        ({"M": 1}, "power of two"),
        ({"M": 2**17}, "power of two"),
        ({"guidance": math.inf}, "finite number as guidance"),
        ({"flow": formulation("edm/rf")}, "path straight"),
        ({"flow": FlowMatching(path=VarianceExploding())}, "path straight"),
        ({"flow": FlowMatching(weighting=MinSNR())}, "no weighting"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ProgressiveDistillation(**arguments)


def test_a_missing_teacher_is_refused():
    x, draws = _batch(4)
    with pytest.raises(ValueError, match="teacher=a network"):
        ProgressiveDistillation().loss(_Recorder(), x, None, draws)


def test_labels_and_needs():
    assert ProgressiveDistillation().notation == "progressive_distillation"
    name = ProgressiveDistillation(formulation("rf/lognorm(0,1)")).notation
    assert name == "progressive_distillation/rf/lognorm(0.00,1.00)"
    assert ProgressiveDistillation().needs == Needs(teacher="phases")
    assert FlowMatching().phases == 1

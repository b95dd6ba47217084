"""Shortcut: its targets, its rows, its step sizes, its grids."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives import Draws, FixedDraws, FlowMatching, Needs, Shortcut, formulation, sample
from objectives.conformance.common import mixture
from objectives.conformance.objectives import TinyNetwork


class _Recorder:
    """A network that remembers what it was asked."""

    def __init__(self):
        self.calls = []

    def __call__(self, z, t, condition=None, step=None):
        self.calls.append({"z": z, "t": t, "condition": condition, "step": step, "grad": torch.is_grad_enabled()})
        return torch.tanh(z) * (1 + t + step)[:, None]


def _batch(rows, step=0):
    draws = Draws(5, step, torch.arange(rows))
    return draws.normal("data", (rows, 2), torch.float64), draws


def test_target_is_the_mean_of_two_half_steps_each_at_its_own_time():
    teacher, shortcut = _Recorder(), Shortcut()
    z, draws = _batch(8)
    d = torch.tensor([1, 0.5, 0.25, 0.125] * 2, dtype=torch.float64)
    t = d * torch.ceil(draws.uniform("time", (8,), torch.float64) / d)
    target = shortcut.target(teacher, z, t, None, d)
    first, second = teacher.calls
    u1 = torch.tanh(z) * (1 + t + d / 2)[:, None]
    middle = z - d[:, None] / 2 * u1
    u2 = torch.tanh(middle) * (1 + (t - d / 2) + d / 2)[:, None]
    torch.testing.assert_close(second["z"], middle)
    torch.testing.assert_close(first["t"] - second["t"], d / 2)
    torch.testing.assert_close(torch.stack((first["step"], second["step"])), torch.stack((d / 2, d / 2)))
    torch.testing.assert_close(target, (u1 + u2) / 2)


def test_the_exact_flow_map_is_a_fixed_point_of_the_target():
    data, shortcut = mixture(), Shortcut()

    def exact(z, t, condition=None, step=None):
        return (z - data.flow_map(shortcut.path, z, t, t - step)) / step[:, None]

    z, draws = _batch(14)
    d = 2.0 ** -(torch.arange(14, dtype=torch.float64) % 7)
    t = d * torch.ceil(draws.uniform("time", (14,), torch.float64) / d)
    residual = shortcut.target(exact, z, t, None, d) - exact(z, t, None, d)
    assert float(residual.abs().max()) < 1e-8
    wrong = shortcut.target(exact, z, (t + d / 2), None, d) - exact(z, t, None, d)
    assert float(wrong.abs().max()) > 1e-3


@pytest.mark.parametrize("label", ["finest", "zero"])
def test_self_consistency_vanishes_at_the_oracles_fixed_point(label):
    shortcut, rows = Shortcut(M=32, label=label), 40
    network = mixture().network(shortcut)
    x, draws = _batch(rows)
    loss = shortcut.loss(network, x, None, draws, teacher=network)
    assert float(loss.per_sample[::4].max()) < 1e-16
    assert float(loss.logs["loss_self_consistency"]) < 1e-16
    assert float(loss.logs["loss_flow"]) > 0.1


@settings(max_examples=25)
@given(
    st.sampled_from((2, 8, 128)),
    st.sampled_from((2, 3, 4, 8)),
    st.integers(0, 10**6),
    st.integers(1, 20),
    st.sampled_from((0, 0.5, 1)),
)
def test_every_step_size_is_trained_at_any_batch_size(M, group, start, groups, bias):
    """Over one round of steps each size comes as often as its place in the round says, in a batch of any multiple."""
    shortcut, sizes = Shortcut(M=M, k=1 / group, bias=bias), []
    rows, index = groups * group, torch.arange(groups * group)
    x = torch.zeros(rows, 1)
    for step in range(start, start + len(shortcut.levels)):
        network = _Recorder()
        loss = shortcut.loss(network, x, None, Draws(5, step, index), teacher=network)
        sizes += loss.steps[::group].tolist()
    assert sorted(sizes) == sorted([2.0**-level for level in shortcut.levels.tolist()] * groups)
    assert set(sizes) == {2.0**-level for level in range(M.bit_length() - 1)}
    if bias == 0:
        assert len({sizes.count(size) for size in sizes}) == 1


@given(st.sampled_from((2, 8, 128)), st.floats(0, 1), st.integers(0, 10**6))
def test_long_steps_are_trained_more_often_by_the_bias_and_short_ones_still(M, bias, start):
    """Over one round a step d comes in proportion to d^bias, to within one row, and at least once."""
    shortcut, sizes = Shortcut(M=M, bias=bias), []
    for step in range(start, start + len(shortcut.levels)):
        network = _Recorder()
        x, draws = _batch(4, step)
        shortcut.loss(network, x, None, draws, teacher=_Recorder())
        sizes += network.calls[0]["step"][::4].tolist()
    weights = {2.0**-level: 2.0 ** (-bias * level) for level in range(M.bit_length() - 1)}
    assert set(sizes) == set(weights)
    for size, weight in weights.items():
        assert abs(sizes.count(size) - len(sizes) * weight / sum(weights.values())) <= 1


@pytest.mark.parametrize(("label", "finest"), [("finest", 1 / 128), ("zero", 0.0)])
def test_rows_times_and_labels(label, finest):
    network, teacher, shortcut = _Recorder(), _Recorder(), Shortcut(label=label)
    x, draws = _batch(64 * 4)
    shortcut.loss(network, x, None, draws, teacher=teacher)
    (call,) = network.calls
    assert call["grad"]
    assert len(call["z"]) == 256
    d, t = call["step"][::4], call["t"][::4]
    assert bool((t / d == (t / d).round()).all())
    assert bool((t >= d).all() and (t <= 1).all())
    flow_rows = torch.arange(256) % 4 != 0
    assert bool((call["step"][flow_rows] == finest).all())
    uniforms = draws.uniform("time", (256,), torch.float64)
    torch.testing.assert_close(call["t"][flow_rows], uniforms[flow_rows])
    assert [len(asked["z"]) for asked in teacher.calls] == [64, 64]
    assert not any(asked["grad"] for asked in teacher.calls)
    told = torch.where(d / 2 > 1 / 128, d / 2, torch.full_like(d, finest))
    for asked in teacher.calls:
        torch.testing.assert_close(asked["step"], told)


def test_the_loss_is_the_mean_square_of_each_part():
    network, teacher, shortcut = _Recorder(), _Recorder(), Shortcut()
    x, draws = _batch(8)
    noise = draws.normal("noise", (8, 2), torch.float64)
    loss = shortcut.loss(network, x, None, draws, teacher=teacher)
    (call,) = network.calls
    t = call["t"]
    torch.testing.assert_close(call["z"], (1 - t)[:, None] * x + t[:, None] * noise)
    out = torch.tanh(call["z"]) * (1 + t + call["step"])[:, None]
    flow = (out - (noise - x)).square().mean(1)
    first = slice(None, None, 4)
    target = shortcut.target(_Recorder(), call["z"][first], t[first], None, call["step"][first])
    expected = flow.clone()
    expected[first] = (out[first] - target).square().mean(1)
    torch.testing.assert_close(loss.per_sample, expected)
    torch.testing.assert_close(loss.logs["loss_flow"], flow[torch.arange(8) % 4 != 0].mean())
    torch.testing.assert_close(loss.logs["loss_self_consistency"], expected[first].mean())


@pytest.mark.parametrize("autocast", [False, True])
def test_an_online_teacher_gets_no_gradient(autocast):
    network, shortcut = TinyNetwork(), Shortcut(teacher="online")
    assert shortcut.needs == Needs(step=True, teacher="none")
    x, draws = _batch(32)

    def gradients(objective, teacher):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = objective.loss(network, x.float(), None, draws, teacher=teacher).per_sample.mean()
        return torch.autograd.grad(loss, list(network.parameters()))

    for one, other in zip(gradients(shortcut, None), gradients(Shortcut(), copy.deepcopy(network)), strict=True):
        assert bool(one.any())
        torch.testing.assert_close(one, other)


def test_conditions_are_dropped_on_all_rows_and_the_teacher_sees_the_same():
    network, teacher = _Recorder(), _Recorder()
    shortcut = Shortcut(flow=FlowMatching(condition_drop=0.5))
    x, draws = _batch(64)
    shortcut.loss(network, x, {"label": torch.arange(64)}, draws, teacher=teacher)
    drop = network.calls[0]["condition"]["drop"]
    assert 16 < int(drop.sum()) < 48
    assert bool(drop[::4].any())
    for asked in teacher.calls:
        assert torch.equal(asked["condition"]["drop"], drop[::4])
        assert torch.equal(asked["condition"]["label"], torch.arange(64)[::4])


@pytest.mark.parametrize("M", [2, 8, 128])
def test_grids_are_sums_of_binary_steps_as_equal_as_possible(M):
    """For every number of steps from 1 to M."""
    for steps in range(1, M + 1):
        grid = Shortcut(M=M).time_grid(steps)
        lengths = -grid.diff()
        assert grid.shape == (steps + 1,)
        assert (float(grid[0]), float(grid[-1])) == (1.0, 0.0)
        assert bool((grid[:-1] / lengths == (grid[:-1] / lengths).round()).all())
        assert set(lengths.tolist()) <= {2.0**-level for level in range(M.bit_length())}
        assert float(lengths.max() / lengths.min()) in ((1.0,) if steps & (steps - 1) == 0 else (2.0,))


def test_more_steps_than_M_are_refused():
    with pytest.raises(ValueError, match="from 1 to 128, got 129"):
        Shortcut().time_grid(129)


@pytest.mark.parametrize("M", [8, 128])
def test_sampling_tells_the_network_each_steps_length(M):
    """In any number of steps from 1 to M."""
    shortcut, noise = Shortcut(M=M, label="zero"), _batch(1)[0]
    for steps in range(1, M + 1):
        network = _Recorder()
        _, nfe = sample(shortcut, network, noise, None, steps=steps, return_nfe=True)
        grid = shortcut.time_grid(steps)
        told = [0.0 if d == 1 / M else d for d in (-grid.diff()).tolist()]
        assert [call["step"].item() for call in network.calls] == told
        assert [call["t"].item() for call in network.calls] == grid[:-1].tolist()
        assert nfe == steps


def test_one_step_is_noise_minus_velocity():
    noise = _batch(4)[0]
    expected = noise - torch.tanh(noise) * 3
    torch.testing.assert_close(sample(Shortcut(), _Recorder(), noise, None, steps=1), expected)


def test_times_are_as_exact_as_the_data():
    """In float64 the flow rows' times are the density's quantiles in float64, not float32's."""
    network, shortcut = _Recorder(), Shortcut(flow=formulation("rf/lognorm(0.3,0.7)"))
    x, draws = _batch(16)
    loss = shortcut.loss(network, x, None, draws, teacher=_Recorder())
    expected = shortcut.flow.times(draws.uniform("time", (16,), torch.float64))
    flow_rows = torch.arange(16) % 4 != 0
    torch.testing.assert_close(network.calls[0]["t"][flow_rows], expected[flow_rows], rtol=1e-14, atol=0)
    assert loss.times is not None
    assert loss.steps is not None
    assert torch.equal(loss.times, network.calls[0]["t"])
    assert torch.equal(loss.steps, network.calls[0]["step"])


def test_validation_asks_for_the_finest_step():
    network, shortcut = _Recorder(), Shortcut()
    x, draws = _batch(6)
    t, noise = draws.uniform("time", (6,), torch.float64), draws.normal("noise", (6, 2), torch.float64)
    errors = shortcut.loss_at(network, x, None, t, noise)
    assert bool((network.calls[0]["step"] == 1 / 128).all())
    z = (1 - t)[:, None] * x + t[:, None] * noise
    torch.testing.assert_close(errors, (torch.tanh(z) * (1 + t + 1 / 128)[:, None] - noise + x).square().mean(1))


def test_base_times_and_noise_are_flow_matchings_own():
    """Cells that differ in the objective alone see common random numbers."""
    network = _Recorder()
    x, draws = _batch(8)
    fixed = FixedDraws(
        noise=draws.normal("noise", (8, 2), torch.float64),
        time=draws.uniform("time", (8,), torch.float64),
        step=draws.cycle("step", len(Shortcut().levels), every=4),
    )
    one = Shortcut().loss(network, x, None, draws, teacher=network).per_sample
    torch.testing.assert_close(Shortcut().loss(network, x, None, fixed, teacher=network).per_sample, one)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"M": 100}, "power of two"),
        ({"M": 1}, "power of two"),
        ({"k": 0.3}, "share k"),
        ({"k": 0.0}, "share k"),
        ({"k": 1.0}, "share k"),
        ({"bias": -0.1}, "bias towards long steps"),
        ({"bias": 1.5}, "bias towards long steps"),
        ({"label": "none"}, "finest, zero"),
        ({"teacher": "frozen"}, "ema, online"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Shortcut(**arguments)


def test_wrong_batches_and_missing_teachers_are_refused():
    x, draws = _batch(6)
    with pytest.raises(ValueError, match="multiple of 4, got 6"):
        Shortcut().loss(_Recorder(), x, None, draws, teacher=_Recorder())
    with pytest.raises(ValueError, match="EMA"):
        Shortcut(k=0.5).loss(_Recorder(), x, None, draws)


def test_labels_and_needs():
    assert Shortcut().notation == "shortcut"
    assert Shortcut(flow=formulation("rf/lognorm(0,1)")).notation == "shortcut/rf/lognorm(0.00,1.00)"
    assert Shortcut().needs == Needs(step=True, teacher="ema")
    assert Shortcut(k=1 / 3).batch_multiple == 3

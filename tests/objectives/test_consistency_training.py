"""Consistency training: its function, its levels, its curriculum, and sampling with fresh noise."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from objectives import ConsistencyTraining, Draws, FixedDraws, FlowMatching, Needs, exact, formulation, sample
from objectives.conformance.common import mixture
from objectives.conformance.objectives import TinyNetwork
from objectives.consistency import consistency_function, gains, neighbours, pseudo_huber, stage_of
from objectives.densities import LogitNormal
from objectives.heads import EDMPreconditioned
from objectives.paths import VarianceExploding
from objectives.weightings import MinSNR

ROWS = 16
PATH = VarianceExploding()


def _batch(rows=ROWS, step=0):
    draws = Draws(5, step, torch.arange(rows))
    noise = draws.normal("data", (rows, 2), torch.float64)
    return mixture().sample(draws.uniform("component", (rows,)), noise), draws


def _levels(draws, rows=ROWS):
    return PATH.b(ConsistencyTraining().flow.times(draws.uniform("time", (rows,), torch.float64)))


def test_the_function_is_the_identity_at_sigma_min_and_edms_denoiser_far_from_it():
    z, draws = _batch()
    raw = draws.normal("noise", (ROWS, 2), torch.float64)
    last = torch.full((ROWS,), PATH.sigma_min, dtype=torch.float64)
    torch.testing.assert_close(consistency_function(raw, z, last, PATH, 0.5), z)
    sigma = 10 + 70 * draws.uniform("time", (ROWS,), torch.float64)
    denoised, _ = EDMPreconditioned(0.5).decode(PATH, raw, z, PATH.time(sigma))
    torch.testing.assert_close(consistency_function(raw, z, sigma, PATH, 0.5), denoised, rtol=1e-2, atol=1e-2)


@given(st.floats(0.002, 80.0), st.floats(0.1, 2.0))
def test_gains_are_the_papers(sigma, sigma_data):
    skip, out = gains(torch.tensor([sigma], dtype=torch.float64), PATH, sigma_data)
    above = sigma - 0.002
    assert float(skip) == pytest.approx(sigma_data**2 / (above**2 + sigma_data**2))
    assert float(out) == pytest.approx(sigma_data * above / math.sqrt(sigma**2 + sigma_data**2))


def test_the_residual_vanishes_at_the_exact_function_along_the_flow():
    """f at two levels of one trajectory of the marginal flow is the same; off it, as x + σ·ε is, it is not."""
    objective, data = ConsistencyTraining(), mixture()
    network = exact.consistency_training(data, objective, steps=300)
    x, draws = _batch()
    below, above = neighbours(_levels(draws), PATH, 10)
    t, earlier = PATH.time(above), PATH.time(below)
    noise = draws.normal("noise", (ROWS, 2), torch.float64)
    z = objective.flow.mix(x, noise, t)
    own = objective.function(network, z, t, None)
    moved = data.flow_map(PATH, z, t, earlier, steps=300)
    assert float((own - objective.function(network, moved, earlier, None)).abs().max()) < 1e-8
    other = objective.function(network, objective.flow.mix(x, noise, earlier), earlier, None)
    assert float((own - other).abs().max()) > 1e-2


@given(st.integers(1, 2000), st.floats(1e-4, 200.0))
def test_neighbours_are_adjacent_levels_of_karras_grid(intervals, sigma):
    below, above = (float(v) for v in neighbours(torch.tensor([sigma], dtype=torch.float64), PATH, intervals))
    levels = torch.linspace(0.002 ** (1 / 7), 80 ** (1 / 7), intervals + 1, dtype=torch.float64) ** 7
    i = int((levels - below).abs().argmin())
    assert below == pytest.approx(float(levels[i]), rel=1e-9)
    assert above == pytest.approx(float(levels[i + 1]), rel=1e-9)
    if 0.0021 < sigma < 79.9:
        assert below * (1 - 1e-9) <= sigma <= above * (1 + 1e-9)


def test_levels_follow_ict_law():
    """Frequencies of the intervals are the normal law's integrals over them, in ln σ."""
    rows, intervals = 200_000, 10
    sigma = _levels(Draws(2, 0, torch.arange(rows)), rows)
    _, above = neighbours(sigma, PATH, intervals)
    levels = torch.linspace(0.002 ** (1 / 7), 80 ** (1 / 7), intervals + 1, dtype=torch.float64) ** 7
    counts = torch.stack([(above - level).abs() < 1e-9 * level for level in levels[1:]]).double().mean(1)
    edges = torch.erf((torch.log(levels) + 1.1) / (2 * math.sqrt(2)))
    edges[0] = -1.0
    expected = edges.diff() / edges.diff().sum()
    assert float((counts - expected).abs().max()) < 5 / math.sqrt(rows)
    assert float((counts - 1 / intervals).abs().max()) > 0.05


@pytest.mark.parametrize(
    ("progress", "intervals"),
    [(0.0, 10), (0.124, 10), (0.126, 20), (0.26, 40), (0.5, 160), (0.874, 640), (0.876, 1280), (1.0, 1280)],
)
def test_the_curriculum_doubles_the_levels_at_equal_distances(progress, intervals):
    assert stage_of(progress, 10, 1280) == intervals


@given(st.integers(1, 100), st.integers(1, 40), st.floats(0, 1))
def test_the_curriculum_stays_in_its_bounds(first, times, progress):
    assert first <= stage_of(progress, first, first * times) <= first * times


@pytest.mark.parametrize("distance", ["pseudo_huber", "square"])
@pytest.mark.parametrize("progress", [0.0, 0.6])
def test_the_loss_is_the_weighted_distance_of_one_sample_at_two_levels(distance, progress):
    objective, network = ConsistencyTraining(distance=distance), TinyNetwork().double()
    x, draws = _batch()
    noise = draws.normal("noise", (ROWS, 2), torch.float64)
    below, above = neighbours(_levels(draws), PATH, stage_of(progress, 10, 1280))

    def f(sigma):
        z, s = x + sigma[:, None] * noise, sigma[:, None]
        raw = network(z / (s**2 + 0.25).sqrt(), sigma.log() / 4)
        return 0.25 / ((s - 0.002) ** 2 + 0.25) * z + 0.5 * (s - 0.002) / (s**2 + 0.25).sqrt() * raw

    square = (f(above) - f(below).detach()).square().mean(1)
    expected = ((square + 0.00054**2).sqrt() - 0.00054 if distance == "pseudo_huber" else square) / (above - below)
    loss = objective.loss(network, x, None, draws, progress=progress)
    torch.testing.assert_close(loss.per_sample, expected)
    torch.testing.assert_close(loss.logs["loss_consistency"], square.mean().detach())
    found, sought = (torch.autograd.grad(v.sum(), list(network.parameters())) for v in (loss.per_sample, expected))
    for one, other in zip(found, sought, strict=True):
        torch.testing.assert_close(one, other)


def test_pseudo_huber_is_half_the_square_when_small_and_the_root_when_large():
    c = 0.00054
    small, large = pseudo_huber(torch.tensor([1e-10, 4.0], dtype=torch.float64), c).tolist()
    assert small == pytest.approx(1e-10 / (2 * c), rel=1e-3)
    assert large == pytest.approx(2 - c, rel=1e-6)
    elements, total = 49, 3.0
    theirs = math.sqrt(total + elements * c**2) - math.sqrt(elements) * c
    ours = float(pseudo_huber(torch.tensor([total / elements], dtype=torch.float64), c))
    assert ours == pytest.approx(theirs / math.sqrt(elements))


# -- sampling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 6])
def test_sampling_goes_to_the_data_and_back_with_fresh_noise(steps):
    objective, network = ConsistencyTraining(), TinyNetwork().double()
    draws = Draws(3, 0, torch.arange(4))
    noise = draws.normal("noise", (4, 2), torch.float64)
    out, nfe = sample(objective, network, noise, None, steps=steps, draws=draws, return_nfe=True)
    grid = objective.time_grid(steps)
    z = 80 * noise
    for i in range(steps):
        t = grid[i].expand(4)
        z = objective.function(network, z, t, None)
        if i < steps - 1:
            z = z + PATH.b(grid[i + 1]) * draws.normal(f"renoise{i}", (4, 2), torch.float64)
    torch.testing.assert_close(out, z)
    assert nfe == steps
    assert float(PATH.b(grid[0])) == pytest.approx(80)
    assert steps == 1 or float(PATH.b(grid[-2])) > 0.003


def test_several_steps_without_draws_are_refused():
    noise = _batch(4)[0]
    network = TinyNetwork().double()
    sample(ConsistencyTraining(), network, noise, None, steps=1)
    with pytest.raises(ValueError, match="needs draws"):
        sample(ConsistencyTraining(), network, noise, None, steps=2)


def test_a_prediction_adds_up_to_z():
    objective, network = ConsistencyTraining(), TinyNetwork().double()
    z, draws = _batch()
    t = objective.flow.times(draws.uniform("time", (ROWS,), torch.float64))
    x, noise = objective.predict(network, z, t, None)
    torch.testing.assert_close(x + PATH.b(t)[:, None] * noise, z)
    torch.testing.assert_close(objective.velocity(network, z, t, None), noise)


# -- the rest ---------------------------------------------------------------------------------------------------------


def test_noise_and_times_are_flow_matchings_own():
    x, draws = _batch()
    names = {"noise": draws.normal("noise", (ROWS, 2), torch.float64),
             "time": draws.uniform("time", (ROWS,), torch.float64)}  # fmt: skip
    network = TinyNetwork().double()
    losses = [ConsistencyTraining().loss(network, x, None, each).per_sample for each in (draws, FixedDraws(**names))]
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"flow": FlowMatching()}, "path variance_exploding with the head edm"),
        ({"flow": FlowMatching(path=PATH, time=LogitNormal())}, "path variance_exploding with the head edm"),
        ({"flow": FlowMatching(path=PATH, head=EDMPreconditioned(), weighting=MinSNR())}, "no weighting"),
        ({"s0": 0}, "1 ≤ s0 ≤ s1"),
        ({"s0": 20, "s1": 10}, "1 ≤ s0 ≤ s1"),
        ({"distance": "lpips"}, "pseudo_huber, square"),
        ({"c": 0.0}, "positive finite c"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConsistencyTraining(**arguments)


def test_labels_and_needs():
    assert ConsistencyTraining().notation == "consistency_training"
    assert ConsistencyTraining(formulation("edm(-1.20,1.20)")).notation == "consistency_training/edm(-1.20,1.20)"
    assert ConsistencyTraining().needs == Needs()

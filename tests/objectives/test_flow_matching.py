"""Flow matching: its loss term by term, dropped conditions, dtypes."""

from __future__ import annotations

import pytest
import torch

from objectives import Draws, FixedDraws, FlowMatching, formulation
from objectives.conformance.common import LEVEL, draws

NAMES = ("rf", "rf/lognorm(0.00,1.00)", "rf/mode(1.29)", "rf/cosmap", "edm(-1.20,1.20)", "edm/rf", "edm/cos")


def _network(z, t, condition=None):
    return torch.tanh(z + t[:, None])


def _fixed(rows=16):
    random = draws(rows)
    x, noise = random.normal("data", (rows, 3), torch.float64), random.normal("noise", (rows, 3), torch.float64)
    return x, noise, random.uniform("time", (rows,), torch.float64)


def test_rectified_flow_is_the_square_of_velocity_minus_difference():
    x, noise, u = _fixed()
    loss = FlowMatching().loss(_network, x, None, FixedDraws(noise=noise, time=u))
    z = (1 - u)[:, None] * x + u[:, None] * noise
    expected = (_network(z, u) - (noise - x)).square().mean(1)
    torch.testing.assert_close(loss.per_sample, expected)
    torch.testing.assert_close(loss.logs["loss_flow"], expected.mean())


def test_edm_is_karras_weighted_denoising_loss():
    """λ(σ)·‖D(x + σε; σ) − x‖² with λ = (σ² + σ_d²)/(σσ_d)², ln σ ~ N(−1.2, 1.2²) (EDM, eq. 2 and table 1)."""
    x, noise, u = _fixed()
    loss = formulation("edm(-1.20,1.20)").loss(_network, x, None, FixedDraws(noise=noise, time=u))
    cut = torch.special.ndtr((torch.log(torch.tensor(80.0, dtype=torch.float64)) + 1.2) / 1.2)
    sigma = torch.exp(-1.2 + 1.2 * torch.special.ndtri(u * cut))[:, None]
    z, total = x + sigma * noise, sigma**2 + 0.25
    raw = _network(z / total.sqrt(), torch.log(sigma[:, 0]) / 4)
    denoised = 0.25 / total * z + 0.5 * sigma / total.sqrt() * raw
    expected = (total / (0.5 * sigma) ** 2 * (denoised - x).square()).mean(1)
    torch.testing.assert_close(loss.per_sample, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_times_follow_the_density_and_stay_below_the_paths_end(name):
    objective = formulation(name)
    u = torch.tensor([2.0**-24, 0.25, 0.5, 0.75, 1 - 2.0**-24])
    t = objective.times(u)
    assert bool((t >= 0).all() and (t <= objective.path.t_max * (1 + 1e-6)).all())
    law = objective.time.cdf(t.double()) / objective.time.cdf(torch.tensor(objective.path.t_max).double())
    torch.testing.assert_close(law, u.double(), rtol=1e-4, atol=1e-5)
    loss = objective.loss(_network, torch.ones(5, 3), None, FixedDraws(noise=torch.ones(5, 3), time=u))
    assert bool(loss.per_sample.isfinite().all())


@pytest.mark.parametrize("name", NAMES)
def test_loss_at_is_the_loss_at_given_times(name):
    objective = formulation(name)
    x, noise, u = _fixed()
    loss = objective.loss(_network, x, None, FixedDraws(noise=noise, time=u))
    torch.testing.assert_close(objective.loss_at(_network, x, None, objective.times(u), noise), loss.per_sample)


def test_conditions_are_dropped_per_sample_by_their_share():
    seen, rows = {}, 10_000

    def network(z, t, condition):
        seen.update(condition)
        return z

    condition = {"label": torch.arange(rows), "drop": torch.arange(rows) < 100}
    FlowMatching(condition_drop=0.2).loss(network, torch.zeros(rows, 1), condition, draws(rows))
    assert bool(seen["drop"][:100].all())
    share = float(seen["drop"][100:].float().mean())
    assert abs(share - 0.2) < 3.9 * (0.16 / 9_900) ** 0.5, LEVEL
    assert torch.equal(seen["label"], condition["label"])
    assert "drop" not in condition or int(condition["drop"].sum()) == 100


def test_parts_of_a_condition_are_dropped_together():
    seen = {}

    def network(z, t, condition):
        seen.update(condition)
        return z

    parts = torch.zeros(8, 3, dtype=torch.bool)
    parts[0, 1] = True
    fixed = FixedDraws(noise=torch.zeros(8, 1), time=torch.full((8,), 0.5), drop=torch.arange(8) / 8)
    FlowMatching(condition_drop=0.3).loss(network, torch.zeros(8, 1), {"label": torch.arange(8), "drop": parts}, fixed)
    assert seen["drop"].tolist() == [[True] * 3] * 3 + [[False] * 3] * 5


def test_without_dropping_the_condition_is_untouched():
    seen = []
    condition = {"label": torch.arange(4)}
    objective = FlowMatching(condition_drop=0.0)
    objective.loss(lambda z, t, c: seen.append(c) or z, torch.zeros(4, 1), condition, draws(4))
    assert seen == [condition]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_network_is_fed_xs_dtype_and_the_loss_is_float32_at_least(dtype):
    fed = []

    def network(z, t, condition):
        fed.append((z.dtype, t.dtype))
        return z

    loss = FlowMatching().loss(network, torch.ones(4, 2, dtype=dtype), None, Draws(0, 0, torch.arange(4)))
    wide = torch.promote_types(dtype, torch.float32)
    assert fed == [(dtype, wide)]
    assert loss.per_sample.dtype == wide


@pytest.mark.parametrize("name", ["rf/mode(1.29)", "edm/cos"])
def test_images_of_any_shape_are_one_row_each(name):
    x = draws(4).normal("data", (4, 2, 3, 3), torch.float64)
    flat = formulation(name).loss(lambda z, t, c: z, x.flatten(1), None, draws(4)).per_sample
    torch.testing.assert_close(formulation(name).loss(lambda z, t, c: z, x, None, draws(4)).per_sample, flat)

"""The detour task: experts succeed on either side, their mean does not."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datamodules.detour import DETOUR, OBSTACLE, SPEED, Detour, expert


@pytest.fixture(scope="module")
def data() -> Detour:
    return Detour()


def test_experts_reach_the_goal_and_use_both_sides(data: Detour) -> None:
    rows = data.dataset("train")
    observation = rows.condition["pooled"]
    assert data.success(rows.x, observation).all()
    left = int((data.side(rows.x, observation) > 0).sum())
    assert abs(left - len(rows) / 2) < 4 * math.sqrt(len(rows)) / 2  # level 6e-5
    for horizon in (2, 5, 16):
        other = Detour(horizon=horizon)
        assert float(other.dataset("train").x.std()) == pytest.approx(other.spec.data_std, abs=5e-3)
    assert (len(rows), len(data.dataset("validation"))) == (4000, 1000)


def test_the_mean_of_the_two_sides_fails(data: Detour) -> None:
    observation = data.dataset("train").condition["pooled"][:500]
    swing = torch.full((500,), sum(DETOUR) / 2)
    both = [expert(observation, sign * swing, data.horizon) for sign in (1, -1)]
    assert all(data.success(x, observation).all() for x in both)
    assert (data.side(both[0], observation) == 1).all()
    assert (data.side(both[1], observation) == -1).all()
    assert not data.success(sum(both) / 2, observation).any()  # pyright: ignore[reportArgumentType]


@given(horizon=st.integers(2, 40), swing=st.floats(-1, 1))
def test_actions_are_the_experts_ways(horizon: int, swing: float) -> None:
    """The path is start + u·(goal − start) + swing·sin(πu)·n at u = k/H, whatever H."""
    data = Detour(horizon=horizon, size=4)
    observation = torch.tensor([[-1.1, 0.1, 0.9, -0.2]], dtype=torch.float64)
    path = data.path(expert(observation, torch.tensor([swing]).double(), horizon), observation)[0]
    way = torch.tensor([2.0, -0.3], dtype=torch.float64)
    normal = torch.tensor([0.3, 2.0], dtype=torch.float64) / way.norm()
    u = torch.arange(horizon + 1, dtype=torch.float64)[:, None] / horizon
    expected = torch.tensor([-1.1, 0.1]) + u * way + swing * torch.sin(math.pi * u) * normal
    torch.testing.assert_close(path, expected)
    straight = expert(observation, torch.zeros(1).double(), horizon)
    torch.testing.assert_close(straight[0].norm(dim=0), torch.full((horizon,), float(way.norm()) / SPEED).double())


def test_success_needs_the_goal_and_a_clear_way(data: Detour) -> None:
    observation = torch.tensor([[-1.0, 0.0, 1.0, 0.0]])
    good = expert(observation, torch.tensor([0.7]), data.horizon)
    assert data.success(good, observation).tolist() == [True]
    short = good.clone()
    short[:, 0, -1] -= 0.15 * data.horizon / SPEED
    assert data.success(short, observation).tolist() == [False]
    grazing = expert(observation, torch.tensor([OBSTACLE - 0.01]), data.horizon)
    assert data.success(grazing, observation).tolist() == [False]


def test_the_seed_makes_the_rows_and_a_batch_carries_the_observation() -> None:
    data = Detour(size=8)
    batch = data.dataset("train")[torch.tensor([5, 2])]
    assert set(batch["condition"]) == {"pooled"}
    assert (tuple(batch["x"].shape), tuple(batch["condition"]["pooled"].shape)) == ((2, 2, 16), (2, 4))
    assert data.fingerprint == Detour(size=8).fingerprint != Detour(size=8, seed=1).fingerprint
    x, heldout = data.dataset("train").x, data.dataset("validation").x
    assert torch.cdist(x.flatten(1), heldout.flatten(1)).min() > 0


def test_pictures_show_the_way(data: Detour) -> None:
    observation = torch.tensor([[-1.0, 0.0, 1.0, 0.0]] * 2)
    left, right = data.to_images(expert(observation, torch.tensor([0.7, -0.7]), 16))
    assert left.shape == (1, 32, 32)
    assert int((left.flip(1) != right).sum()) <= 4  # on the axis itself rounding goes one way
    assert left[0, :16].sum() > 10 * 255
    assert data.to_images(torch.full((1, 2, 16), math.nan)).shape == (1, 1, 32, 32)


@pytest.mark.parametrize("wrong", [{"horizon": 1}, {"size": 3}, {"seed": -1}])
def test_impossible_sizes_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Detour(**wrong)

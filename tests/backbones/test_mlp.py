"""The MLP for points."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import mse_loss

from backbones import MLP


@given(shape=st.lists(st.integers(1, 3), min_size=1, max_size=4), depth=st.integers(1, 3))
def test_any_shape_is_flattened(make_spec: Any, shape: list[int], depth: int) -> None:
    network = MLP(make_spec(tuple(shape)), width=5, depth=depth)
    assert network(torch.randn(2, *shape), torch.rand(2)).shape == (2, *shape)


def test_it_learns_a_function_of_point_and_time(make_spec: Any) -> None:
    network = MLP(make_spec((2,)), width=32, depth=2)
    network.initialise(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(300):
        z, t = torch.randn(128, 2, generator=generator), torch.rand(128, generator=generator)
        loss = mse_loss(network(z, t), (2 * t[:, None] - 1) * z.flip(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) / 20 < 0.1 * losses[0]


def test_illegal_sizes_and_conditions_are_refused(make_spec: Any) -> None:
    with pytest.raises(ValueError, match="depth=0; allowed: above 0"):
        MLP(make_spec((2,)), depth=0)
    with pytest.raises(ValueError, match="MLP takes label as condition, but the data has pooled"):
        MLP(make_spec((2,), pooled=3))

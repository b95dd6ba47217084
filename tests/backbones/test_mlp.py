"""The MLP for points."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import mse_loss, silu

from backbones import MLP
from backbones.layers.embedding import sinusoid


@given(shape=st.lists(st.integers(1, 3), min_size=1, max_size=4), depth=st.integers(1, 3))
def test_any_shape_is_flattened(make_spec: Any, shape: list[int], depth: int) -> None:
    network = MLP(make_spec(tuple(shape)), width=5, depth=depth)
    assert network(torch.randn(2, *shape), torch.rand(2)).shape == (2, *shape)


def test_forward_is_its_formula(make_spec: Any) -> None:
    torch.manual_seed(0)
    network = MLP(make_spec((2, 3), classes=3, pooled=5), width=8, depth=2, step=True).double()
    p = dict(network.named_parameters())
    with torch.no_grad():
        for parameter in p.values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    z, t, label = torch.randn(4, 2, 3).double(), torch.rand(4).double(), torch.tensor([0, 2, 1, 0])
    pooled, step = torch.randn(4, 5).double(), torch.tensor([1, 0.5, 0.25, 0.125]).double()

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def embedded(x: torch.Tensor, name: str) -> torch.Tensor:
        return linear(silu(linear(x, f"{name}.mlp.0")), f"{name}.mlp.2")

    y = embedded(sinusoid(1000 * t, 256), "t_embedder") + p["y_embedder.embedding_table.weight"][label]
    y = y + embedded(pooled, "pooled_embedder")
    y = y + embedded(sinusoid(1000 * torch.arange(4).double(), 256), "step_embedder")
    x = linear(z.flatten(1), "x_embedder")
    for block in ("blocks.0", "blocks.1"):
        shift, scale = linear(silu(y), f"{block}.adaLN_modulation.1").split(8, dim=1)
        x = x + linear(silu(linear(x, f"{block}.fc1") * (1 + scale) + shift), f"{block}.fc2")
    expected = linear(x, "final_layer").view_as(z)
    torch.testing.assert_close(network(z, t, {"label": label, "pooled": pooled}, step), expected)
    without = network(z, t, {"label": label, "pooled": 0 * pooled + p["pooled_embedder.null.row"]}, step)
    drop = torch.tensor([[False, True]]).expand(4, 2)
    torch.testing.assert_close(network(z, t, {"label": label, "pooled": pooled, "drop": drop}, step), without)


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
    with pytest.raises(ValueError, match="MLP takes label and pooled as condition, but the data has context"):
        MLP(make_spec((2,), context=(3, 4)))

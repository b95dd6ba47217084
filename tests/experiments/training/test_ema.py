"""EMA against its closed form."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from experiments.training.ema import EMA


def scalar_network(value: float) -> nn.Linear:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, value)
    return network


@given(
    decay=st.floats(0, 0.999), values=st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=6), warmup=st.booleans()
)
def test_the_shadow_is_the_weighted_sum_of_all_weights_so_far(decay: float, values: list[float], warmup: bool) -> None:
    network = scalar_network(1.0)
    ema = EMA(network, decay, warmup=warmup)
    expected = 1.0
    for n, value in enumerate(values, start=1):
        nn.init.constant_(network.weight, value)
        ema.update(network, n)
        beta = min(decay, (1 + n) / (10 + n)) if warmup else decay
        expected = beta * expected + (1 - beta) * value
    torch.testing.assert_close(ema.network.weight.item(), expected, rtol=1e-5, atol=1e-5)


def test_the_shadow_is_float32_frozen_and_stays_in_evaluation_mode() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).to(torch.bfloat16)
    ema = EMA(network, 0.9)
    ema.train()
    assert not ema.network.training
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in ema.parameters())
    ema.update(network, 1)
    assert all(p.dtype == torch.float32 for p in ema.parameters())


def test_small_steps_are_not_lost_under_bf16_weights() -> None:
    """In bfloat16 a decay of 0.999 stops moving; the float32 shadow goes all the way."""
    network = scalar_network(0.0).to(torch.bfloat16)
    ema = EMA(network, 0.999, warmup=False)
    nn.init.constant_(network.weight, 1.0)
    for n in range(1, 3001):
        ema.update(network, n)
    torch.testing.assert_close(ema.network.weight.item(), 1 - 0.999**3000, rtol=1e-3, atol=1e-3)


def test_it_is_called_as_the_network_is() -> None:
    network = nn.Linear(3, 2)
    x = torch.randn(4, 3)
    assert torch.equal(EMA(network, 0.5)(x), network(x))

"""Averages against their closed forms and against direct sums over all weights so far."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from experiments.config.schema import EMA as Settings
from experiments.training.ema import EMA, PowerEMA, averages
from experiments.training.power import exponent


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


def direct_average(values: list[float], gamma: float) -> float:
    """∫ p(τ) θ(τ) dτ of weights that step i holds during (i − 1, i], in O(T)."""
    total = len(values)
    return sum(
        value * ((i / total) ** (gamma + 1) - ((i - 1) / total) ** (gamma + 1))
        for i, value in enumerate(values, start=1)
    )


@given(
    sigma_rel=st.floats(0.03, 0.28), values=st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=40),
)  # fmt: skip
def test_a_power_profile_is_the_direct_average_at_every_step(sigma_rel: float, values: list[float]) -> None:
    network = scalar_network(99.0)  # the initial weights have no part in it
    ema = PowerEMA(network, sigma_rel)
    for n, value in enumerate(values, start=1):
        nn.init.constant_(network.weight, value)
        ema.update(network, n)
        expected = direct_average(values[:n], exponent(sigma_rel))
        torch.testing.assert_close(ema.network.weight.item(), expected, rtol=1e-5, atol=1e-4)


@given(value=st.floats(-5, 5, width=32), sigma_rel=st.floats(0.03, 0.28), steps=st.integers(1, 50))
def test_constant_weights_are_a_fixed_point(value: float, sigma_rel: float, steps: int) -> None:
    network = scalar_network(value)
    kept = [PowerEMA(network, sigma_rel), EMA(network, 0.9), EMA(network, 0.99, every=10)]
    for n in range(1, steps + 1):
        for ema in kept:
            ema.update(network, n)
    for ema in kept:
        torch.testing.assert_close(ema.network.weight.item(), value, rtol=1e-6, atol=1e-6)


@given(
    values=st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=5), warmup=st.booleans(),
    decay=st.floats(0.5, 0.999), sigma_rel=st.floats(0.03, 0.28), held=st.integers(2, 10),
)  # fmt: skip
def test_a_tenth_of_the_updates_give_the_same_average_of_weights_held_still_in_between(
    values: list[float], warmup: bool, decay: float, sigma_rel: float, held: int
) -> None:
    network = scalar_network(1.0)
    pairs = [
        (EMA(network, decay, warmup=warmup), EMA(network, decay, warmup=warmup, every=held)),
        (PowerEMA(network, sigma_rel), PowerEMA(network, sigma_rel, every=held)),
    ]
    for n in range(held * len(values)):
        nn.init.constant_(network.weight, values[n // held])
        for often, seldom in pairs:
            often.update(network, n + 1)
            seldom.update(network, n + 1)
    for often, seldom in pairs:
        torch.testing.assert_close(seldom.network.weight, often.network.weight, rtol=1e-4, atol=1e-4)


def test_between_its_updates_an_average_stands_still() -> None:
    network = scalar_network(1.0)
    ema = EMA(network, 0.9, every=10)
    nn.init.constant_(network.weight, 5.0)
    for n in range(1, 10):
        ema.update(network, n)
    assert ema.network.weight.item() == 1.0
    ema.update(network, 10)
    assert ema.network.weight.item() > 1.0


def test_the_first_average_moves_each_step_and_the_others_each_tenth() -> None:
    made = averages(scalar_network(1.0), Settings(decays=(0.9, 0.99), warmup=False, profiles=(0.05, 0.1)))
    assert [ema.every for ema in made] == [1, 10, 10, 10]
    assert [type(ema) for ema in made] == [EMA, EMA, PowerEMA, PowerEMA]
    assert made[1].beta(10) == pytest.approx(0.99**10)
    assert made[2].beta(40) == pytest.approx((1 - 10 / 40) ** (exponent(0.05) + 1))
    assert [ema.every for ema in averages(scalar_network(1.0), Settings(decays=(), profiles=(0.05, 0.1)))] == [1, 10]


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

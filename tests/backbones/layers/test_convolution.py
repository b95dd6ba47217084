"""Residual blocks of convolutions: their formula, and maps that are halved and doubled."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import avg_pool1d, avg_pool2d, avg_pool3d, conv2d, group_norm, interpolate, silu

from backbones.layers.convolution import ResidualBlock, doubled, halved
from backbones.layers.convolution import group_norm as norm_of


@pytest.mark.parametrize(("inputs", "outputs"), [(8, 8), (8, 4)])
def test_the_block_is_its_formula(inputs: int, outputs: int) -> None:
    torch.manual_seed(0)
    block = ResidualBlock(inputs=inputs, outputs=outputs, width=6, dims=2).double()
    p = dict(block.named_parameters())
    with torch.no_grad():
        for parameter in p.values():
            parameter.copy_(torch.randn_like(parameter))
    x, y = torch.randn(2, inputs, 4, 6).double(), torch.randn(2, 6).double()
    h = silu(group_norm(x, inputs // 4, p["norm1.weight"], p["norm1.bias"], 1e-6))
    h = conv2d(h, p["conv1.weight"], p["conv1.bias"], padding=1)
    shift, scale = (silu(y) @ p["adaLN_modulation.1.weight"].T + p["adaLN_modulation.1.bias"]).split(outputs, dim=1)
    h = group_norm(h, outputs // 4, eps=1e-6) * (1 + scale[..., None, None]) + shift[..., None, None]
    h = conv2d(silu(h), p["conv2.weight"], p["conv2.bias"], padding=1)
    past = x if inputs == outputs else conv2d(x, p["shortcut.weight"], p["shortcut.bias"])
    torch.testing.assert_close(block(x, y), past + h)


@given(sides=st.lists(st.integers(1, 3), min_size=1, max_size=3))
def test_halving_is_the_mean_and_doubling_repeats(sides: list[int]) -> None:
    x = torch.randn(2, 3, *(2 * side for side in sides))
    pool = {1: avg_pool1d, 2: avg_pool2d, 3: avg_pool3d}[len(sides)]
    torch.testing.assert_close(halved(x), pool(x, 2))
    torch.testing.assert_close(doubled(x), interpolate(x, scale_factor=2, mode="nearest"))
    torch.testing.assert_close(halved(doubled(x)), x)


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (6, 1), (8, 2), (48, 12), (11, 1), (128, 32), (512, 32)])
def test_a_group_has_four_channels_or_more(channels: int, groups: int) -> None:
    assert norm_of(channels).num_groups == groups

"""The parts of an adaLN-Zero block."""

from __future__ import annotations

import torch
from torch import Tensor

from backbones.layers.block import AdaLNBlock
from backbones.layers.modulation import modulate


def block(**options: bool) -> AdaLNBlock:
    torch.manual_seed(0)
    return AdaLNBlock(width=8, heads=2, mlp_ratio=2.0, **options)


def test_a_closed_gate_leaves_tokens_as_they_are() -> None:
    x, zero = torch.randn(2, 3, 8), torch.zeros(2, 8)
    assert torch.equal(block().attend(x, zero, zero, zero), x)
    assert torch.equal(block().feed(x, zero, zero, zero), x)


def test_each_half_norms_modulates_and_is_gated() -> None:
    layer, x = block(), torch.randn(2, 3, 8)
    shift, scale, gate = torch.randn(3, 2, 8).unbind(0)
    for half, norm, inner in ((layer.attend, layer.norm1, layer.attn), (layer.feed, layer.norm2, layer.mlp)):
        expected = x + gate[:, None] * inner(modulate(norm(x), shift, scale))
        torch.testing.assert_close(half(x, shift, scale, gate), expected)


def test_modulations_are_of_the_vector_or_of_what_is_shared() -> None:
    y = torch.randn(2, 8)
    own = block()
    assert [part.shape for part in own.modulations(y)] == [(2, 8)] * 6
    torch.testing.assert_close(torch.cat(own.modulations(y), dim=1), own.adaLN_modulation(y))
    shared: Tensor = torch.randn(2, 48)
    assert all(map(torch.equal, block(shared=True).modulations(shared), shared.chunk(6, dim=1)))

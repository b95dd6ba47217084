"""Modulation and gates against their formulas."""

from __future__ import annotations

import torch

from backbones.layers.modulation import FinalLayer, SharedModulation, gated, modulate, modulation, norm


def test_formulas() -> None:
    x, update = torch.randn(2, 3, 5, 4).unbind(0)
    shift, scale, gate = torch.randn(3, 3, 4).unbind(0)
    torch.testing.assert_close(modulate(x, shift, scale), x * (1 + scale[:, None]) + shift[:, None])
    torch.testing.assert_close(gated(x, gate, update), x + gate[:, None] * update)


def test_modulation_is_silu_then_linear() -> None:
    layer, y = modulation(4, 6), torch.randn(3, 4)
    torch.testing.assert_close(layer(y), (y * torch.sigmoid(y)) @ layer[1].weight.T + layer[1].bias)
    assert layer(y).shape == (3, 24)


def test_norm_has_no_weights() -> None:
    layer = norm(4)
    assert list(layer.parameters()) == []
    assert layer(torch.randn(7, 4)).mean(dim=1).abs().max() < 1e-6


def test_final_layer_shifts_before_it_scales() -> None:
    """The two halves of its modulation are shift, scale, in this order."""
    layer, x, y = FinalLayer(width=4, outputs=3), torch.randn(2, 5, 4), torch.randn(2, 4)
    halves = layer.adaLN_modulation(y)
    expected = layer.linear(norm(4)(x) * (1 + halves[:, None, 4:]) + halves[:, None, :4])
    torch.testing.assert_close(layer(x, y), expected)


def test_a_table_is_added_to_what_blocks_share() -> None:
    """It is no matrix, which Muon would orthogonalise."""
    layer, shared = SharedModulation(width=4, count=6), torch.randn(3, 24)
    assert torch.equal(layer(shared), shared)
    torch.nn.init.normal_(layer.scale_shift_table)
    assert layer.scale_shift_table.shape == (24,)
    assert torch.equal(layer(shared), shared + layer.scale_shift_table)

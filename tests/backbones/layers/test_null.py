"""The learned stand-in for what was dropped."""

from __future__ import annotations

import torch

from backbones.layers.null import NullRow


def test_dropped_rows_hold_the_null_row() -> None:
    null = NullRow(3)
    with torch.no_grad():
        null.row.copy_(torch.tensor([1.0, 2.0, 3.0]))
    drop = torch.tensor([False, True])
    tokens, vectors = torch.randn(2, 4, 3), torch.randn(2, 3)
    assert torch.equal(null(tokens, drop)[0], tokens[0])
    assert torch.equal(null(tokens, drop)[1], null.row.expand(4, 3))
    assert torch.equal(null(vectors, drop), torch.stack([vectors[0], null.row]))


def test_a_parameter_stays_in_the_graph_when_nothing_is_dropped() -> None:
    null = NullRow(3)
    null(torch.randn(2, 3), torch.tensor([False, False])).sum().backward()
    assert null.row.grad is not None
    assert not null.row.grad.any()

"""The learned stand-ins for what was dropped."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from backbones.condition import Complete
from backbones.layers.null import NullContext, NullRow

ROW = torch.tensor([1.0, 2.0, 3.0])


def given(context: Tensor, drop: list[bool], mask: Any = None) -> Complete:
    value = {"context": context} if mask is None else {"context": context, "context_mask": torch.tensor(mask)}
    return Complete(value, {"context": torch.tensor(drop)})


@pytest.fixture
def null() -> NullContext:
    layer = NullContext(4, 3)
    with torch.no_grad():
        layer.row.copy_(ROW)
    return layer


def test_dropped_rows_hold_the_null_row() -> None:
    layer = NullRow(3)
    with torch.no_grad():
        layer.row.copy_(ROW)
    vectors = torch.randn(2, 3)
    assert torch.equal(layer(vectors, torch.tensor([False, True])), torch.stack([vectors[0], ROW]))


def test_a_whole_context_needs_no_mask(null: NullContext) -> None:
    context = torch.randn(2, 4, 3)
    tokens, mask = null(given(context, [False, True]))
    assert mask is None
    assert torch.equal(tokens, torch.stack([context[0], ROW.expand(4, 3)]))


@pytest.mark.parametrize("length", [0, 2, 4, 7])
@pytest.mark.parametrize("masked", [False, True])
def test_null_is_the_same_tokens_whatever_was_given(null: NullContext, length: int, masked: bool) -> None:
    """A dropped row has as many null tokens as the data has tokens, whatever the length and padding of its context."""
    mask = [[True] * length] * 2 if masked else None
    tokens, allowed = null(given(torch.randn(2, length, 3), [True, False], mask))
    assert tokens.shape == (2, max(length, 4), 3)
    allowed = torch.ones(2, length, dtype=torch.bool) if allowed is None else allowed
    assert torch.equal(tokens[0, allowed[0]], ROW.expand(4, 3))
    assert allowed[1].sum() == (length or 4)


def test_masked_tokens_are_forgotten_and_a_row_without_any_is_null(null: NullContext) -> None:
    context = torch.randn(3, 5, 3)
    context[0, 1], context[1] = torch.nan, torch.inf
    mask = [[True, False, True, True, False], [False] * 5, [True] * 5]
    tokens, allowed = null(given(context, [False, False, False], mask))
    assert allowed is not None
    assert allowed.tolist() == [mask[0], [True] * 4 + [False], mask[2]]
    assert tokens.isfinite().all()
    assert torch.equal(tokens[0, allowed[0]], context[0, allowed[0]])
    assert torch.equal(tokens[1], ROW.expand(5, 3))
    assert torch.equal(tokens[2], context[2])


def test_parameters_stay_in_the_graph_when_nothing_is_dropped(null: NullContext) -> None:
    null(given(torch.randn(2, 4, 3), [False, False]))[0].sum().backward()
    row = NullRow(3)
    row(torch.randn(2, 3), torch.tensor([False, False])).sum().backward()
    for layer in (null, row):
        assert layer.row.grad is not None
        assert not layer.row.grad.any()


def test_what_is_not_learned_is_zero() -> None:
    row, context = NullRow(3, learned=False), NullContext(4, 3, learned=False)
    assert list(row.parameters()) == list(context.parameters()) == []
    drop = torch.tensor([True, False])
    assert row(torch.ones(2, 3), drop).sum(1).tolist() == [0, 3]
    assert context(given(torch.ones(2, 4, 3), [True, False]))[0].sum((1, 2)).tolist() == [0, 12]
    tokens, mask = context(given(torch.ones(2, 5, 3), [True, False], [[True] * 5, [False, True, False, False, False]]))
    assert mask is not None
    assert (tokens.sum((1, 2)).tolist(), mask.sum(1).tolist()) == ([0, 3], [4, 1])

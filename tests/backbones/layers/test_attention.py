"""Attention against its definition."""

from __future__ import annotations

import torch

from backbones.layers.attention import Attention, attend, join


def by_definition(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    weights = torch.softmax(torch.einsum("bhnk,bhmk->bhnm", q, k) / q.shape[-1] ** 0.5, dim=-1)
    return torch.einsum("bhnm,bhmk->bnhk", weights, v).flatten(2)


def test_attention_is_its_definition() -> None:
    torch.manual_seed(0)
    attention = Attention(width=12, heads=3).double()
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    projected = x @ attention.qkv.weight.T + attention.qkv.bias
    q, k, v = (part.unflatten(2, (3, 4)).transpose(1, 2) for part in projected.chunk(3, dim=2))
    expected = attention.proj(by_definition(q, k, v))
    torch.testing.assert_close(attention(x), expected)


def test_query_and_key_norm_bounds_the_logits() -> None:
    """With unit scales each head's query and key has length √k, so that a logit is at most √k."""
    torch.manual_seed(0)
    attention = Attention(width=12, heads=3, qk_norm=True)
    q, k, v = attention.split(100 * torch.randn(2, 5, 12))
    for heads in (q, k):
        torch.testing.assert_close(heads.norm(dim=-1), torch.full((2, 3, 5), 2.0))
    assert v.norm(dim=-1).max() > 10
    assert Attention(width=12, heads=3).split(torch.randn(2, 5, 12))[0].norm(dim=-1).std() > 0.01


def test_masked_keys_do_not_enter() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, 6, 4).unbind(0)
    mask = torch.tensor([True, True, False, True, False, True])
    torch.testing.assert_close(attend(q, k, v, mask.expand(2, 1, 1, 6)), by_definition(q, k[:, :, mask], v[:, :, mask]))


def test_joined_streams_lie_behind_one_another() -> None:
    first, second = (tuple(torch.randn(3, 1, 2, n, 4).unbind(0)) for n in (2, 5))
    for joined, a, b in zip(join(first, second), first, second, strict=True):
        assert torch.equal(joined[:, :, :2], a)
        assert torch.equal(joined[:, :, 2:], b)

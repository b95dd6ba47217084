"""Attention against its definition."""

from __future__ import annotations

import torch

from backbones.layers.attention import Attention, CrossAttention, attend, key_mask, parted


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


def test_normalised_queries_and_keys_have_their_own_scales_and_values_none() -> None:
    torch.manual_seed(0)
    qkv, scales = torch.randn(2, 5, 3, 3, 4), torch.randn(2, 1, 4)
    q, k, v = parted(qkv[:, :, :2], qkv[:, :, 2:], scales)
    normed = qkv / (qkv.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(q, (normed[:, :, 0] * scales[0]).transpose(1, 2))
    torch.testing.assert_close(k, (normed[:, :, 1] * scales[1]).transpose(1, 2))
    assert torch.equal(v, qkv[:, :, 2].transpose(1, 2))


def test_each_token_can_have_scales_of_its_own() -> None:
    torch.manual_seed(0)
    qk, v, scales = torch.randn(2, 5, 2, 3, 4), torch.randn(2, 5, 1, 3, 4), torch.randn(2, 2, 1, 4)
    first, last = parted(qk[:, :2], v[:, :2], scales[0]), parted(qk[:, 2:], v[:, 2:], scales[1])
    together = parted(qk, v, scales[[0, 0, 1, 1, 1]])
    for whole, one, other in zip(together, first, last, strict=True):
        torch.testing.assert_close(whole, torch.cat([one, other], dim=2))


def test_queries_are_normalised_in_the_scales_dtype() -> None:
    """What autocast gives in bfloat16 is normalised in the weights' float32, and comes back in bfloat16."""
    torch.manual_seed(0)
    qk, v = torch.randn(2, 5, 2, 3, 4).bfloat16(), torch.randn(2, 5, 1, 3, 4).bfloat16()
    q, k, values = parted(qk, v, torch.ones(2, 1, 4))
    assert {q.dtype, k.dtype, values.dtype} == {torch.bfloat16}
    assert torch.equal(q, parted(qk.float(), v, torch.ones(2, 1, 4))[0].bfloat16())


def test_masked_self_attention_is_that_of_the_other_tokens() -> None:
    torch.manual_seed(0)
    attention, x = Attention(width=12, heads=3).double(), torch.randn(2, 5, 12, dtype=torch.float64)
    mask = torch.tensor([True, True, False, True, False])
    torch.testing.assert_close(attention(x, mask.expand(2, 1, 1, 5))[:, mask], attention(x[:, mask]))


def test_cross_attention_is_its_definition() -> None:
    """Queries of the one stream, keys and values of the other, keys before values."""
    torch.manual_seed(0)
    attention = CrossAttention(width=12, heads=3).double()
    x, context = torch.randn(2, 5, 12, dtype=torch.float64), torch.randn(2, 4, 12, dtype=torch.float64)
    q = x @ attention.q_linear.weight.T + attention.q_linear.bias
    k, v = (context @ attention.kv_linear.weight.T + attention.kv_linear.bias).split(12, dim=2)
    heads = (part.unflatten(2, (3, 4)).transpose(1, 2) for part in (q, k, v))
    torch.testing.assert_close(attention(x, context), attention.proj(by_definition(*heads)))
    mask = torch.tensor([True, False, True, False])
    masked = attention(x, context, mask.expand(2, 1, 1, 4))
    torch.testing.assert_close(masked, attention(x, context[:, mask]))


def test_patches_are_always_keys() -> None:
    assert key_mask(None, 3) is None
    mask = key_mask(torch.tensor([[True, False]]), 3)
    assert mask is not None
    assert mask.shape == (1, 1, 1, 5)
    assert mask.flatten().tolist() == [True, False, True, True, True]

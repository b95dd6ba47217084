"""Multi-head attention, in pieces, so that several token streams can attend jointly.

Shapes: B batch, N tokens, D width, h heads, k = D/h the width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, rms_norm, scaled_dot_product_attention

Heads = tuple[Tensor, Tensor, Tensor]
"""Queries, keys and values, each (B, h, N, k)."""

EPSILON = 1e-6
"""Added to the mean square of a query or a key."""


class HeadScale(nn.Module):
    """The learned scale (k,) of each head's RMS-normalised vectors."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


class Attention(nn.Module):
    """Self-attention softmax(QKᵀ/√k)·V (Vaswani et al. 2017, eq. 1), with its projections.

    Args:
        width: D.
        heads: h, a divisor of D.
        qkv_bias: whether the joint projection to Q, K, V has a bias.
        qk_norm: RMS-normalise each head's queries and keys with a learned scale (SD3 §5.3.2; for bf16 stability).
        project: whether there is an output projection (the last context block of MM-DiT has none).
    """

    def __init__(
        self, *, width: int, heads: int, qkv_bias: bool = True, qk_norm: bool = False, project: bool = True
    ) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=qkv_bias)
        self.ln_q = HeadScale(width // heads) if qk_norm else None
        self.ln_k = HeadScale(width // heads) if qk_norm else None
        self.proj = nn.Linear(width, width) if project else nn.Identity()

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, D) to queries and keys (B, N, 2, h, k), not normalised yet, and values (B, N, 1, h, k).

        One product gives all three, unless there is a norm. Its gradient keeps queries and keys, and what a compiler
        keeps of one product would hold the values too, beside those that the attention keeps.
        """
        if self.ln_q is None:
            qk, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).split([2, 1], dim=2)
            return qk, v
        width = x.shape[-1]
        weights = self.qkv.weight.split([2 * width, width])
        biases = (None, None) if self.qkv.bias is None else self.qkv.bias.split([2 * width, width])
        qk, v = (linear(x, weight, bias) for weight, bias in zip(weights, biases, strict=True))
        return qk.unflatten(-1, (2, self.heads, -1)), v.unflatten(-1, (1, self.heads, -1))

    def scales(self) -> Tensor | None:
        """The scales (2, 1, k) of normalised queries and keys; None where they are not normalised."""
        if self.ln_q is None or self.ln_k is None:
            return None
        return torch.cat([self.ln_q.weight, self.ln_k.weight]).view(2, 1, -1)

    def split(self, x: Tensor) -> Heads:
        """Project tokens (B, N, D) to queries, keys and values, each (B, h, N, k)."""
        return parted(*self.project(x), self.scales())

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Let tokens (B, N, D) attend to one another, but for masked keys (see :func:`attend`); (B, N, D)."""
        return self.proj(attend(*self.split(x), mask))


class CrossAttention(nn.Module):
    """Attention of one stream's tokens to another's: softmax(QKᵀ/√k)·V with K and V from the other.

    Its projection starts at zero (PixArt-α, Chen et al. 2023, §2.3), so that a block begins without it.

    Args:
        width: D, of both streams.
        heads: h, a divisor of D.
    """

    def __init__(self, *, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_linear = nn.Linear(width, width)
        self.kv_linear = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens (B, N, D) that ask, context (B, L, D) and key mask (B, 1, 1, L) to (B, N, D)."""
        q = self.q_linear(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        kv = self.kv_linear(context).unflatten(-1, (2, self.heads, -1))
        k, v = kv.permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(attend(q, k, v, mask))


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention over all heads, merged.

    Args:
        q, k, v: (B, h, N, k).
        mask: (B, 1, 1, N) bool, True where a key may be attended to; None for all.

    Returns:
        (B, N, D) the heads' results side by side.
    """
    return scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


def parted(qk: Tensor, v: Tensor, scales: Tensor | None = None) -> Heads:
    """Queries, keys and values of all heads, queries and keys RMS-normalised where there are scales for them.

    Both are normalised at once, in the scales' dtype, before the heads come in front of the tokens: one pass over what
    lies in one piece.

    Args:
        qk: (B, N, 2, h, k).
        v: (B, N, 1, h, k).
        scales: (2, 1, k), or (N, 2, 1, k) where tokens of several streams have scales of their own.
    """
    if scales is not None:
        qk = (rms_norm(qk.to(scales.dtype), qk.shape[-1:], eps=EPSILON) * scales).to(qk.dtype)
    q, k = qk.permute(2, 0, 3, 1, 4).unbind(0)
    return q, k, v.squeeze(2).transpose(1, 2)


def key_mask(mask: Tensor | None, patches: int) -> Tensor | None:
    """The mask (B, L) of context tokens as a key mask (B, 1, 1, L + N) where N patches, all allowed, follow them."""
    if mask is None:
        return None
    return torch.cat([mask, mask.new_ones(mask.shape[0], patches)], dim=1)[:, None, None]

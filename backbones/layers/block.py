"""The parts of a transformer block with adaLN-Zero, which families put together."""

from __future__ import annotations

from torch import Tensor, nn

from backbones.layers.attention import Attention
from backbones.layers.feed_forward import FeedForward
from backbones.layers.modulation import SharedModulation, gated, modulate, modulation, norm


class AdaLNBlock(nn.Module):
    """Self-attention and feed-forward, each behind a modulated norm and a gate that starts at zero (DiT §3.2).

    Args:
        width: D.
        heads: attention heads.
        mlp_ratio: hidden width of the MLP divided by D.
        shared: whether the block is given modulations that all blocks share, to which it adds a table of its own,
            and not the vector that they are made of.
        mlp_norm_eps: ε of the norm before the MLP.
    """

    def __init__(
        self, *, width: int, heads: int, mlp_ratio: float, shared: bool = False, mlp_norm_eps: float = 1e-6
    ) -> None:
        super().__init__()
        self.norm1 = norm(width)
        self.attn = Attention(width=width, heads=heads)
        self.norm2 = norm(width, eps=mlp_norm_eps)
        self.mlp = FeedForward(width=width, ratio=mlp_ratio)
        self.adaLN_modulation = SharedModulation(width=width, count=6) if shared else modulation(width, 6)

    def modulations(self, y: Tensor) -> tuple[Tensor, ...]:
        """Shift, scale and gate of the attention, then of the MLP, each (B, D), of what the block is given."""
        return self.adaLN_modulation(y).chunk(6, dim=1)

    def attend(self, x: Tensor, shift: Tensor, scale: Tensor, gate: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens (B, N, D) and key mask (B, 1, 1, N) to tokens (B, N, D): the attention through its gate."""
        return gated(x, gate, self.attn(modulate(self.norm1(x), shift, scale), mask))

    def feed(self, x: Tensor, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
        """Tokens (B, N, D) to the same: the MLP through its gate."""
        return gated(x, gate, self.mlp(modulate(self.norm2(x), shift, scale)))

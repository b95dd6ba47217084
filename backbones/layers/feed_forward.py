"""The per-token network of a transformer block."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn


class FeedForward(nn.Module):
    """fc2(GELU(fc1(x))) on each token.

    Args:
        width: D.
        ratio: the hidden width divided by D.
        approximate: GELU's form: "tanh" (DiT, MM-DiT) or "none", the exact one (U-ViT).
    """

    def __init__(self, *, width: int, ratio: float = 4.0, approximate: Literal["none", "tanh"] = "tanh") -> None:
        super().__init__()
        hidden = int(width * ratio)
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU(approximate=approximate)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, D) to (B, N, D)."""
        return self.fc2(self.act(self.fc1(x)))

"""Adaptive layer norm: shifts, scales and gates from a conditioning vector (DiT §3.2, "adaLN-Zero")."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def norm(width: int, *, eps: float = 1e-6) -> nn.LayerNorm:
    """Layer norm without weights of its own; the modulation gives it some."""
    return nn.LayerNorm(width, elementwise_affine=False, eps=eps)


def modulation(width: int, count: int) -> nn.Sequential:
    """SiLU and a linear layer from (B, D) to (B, count·D); initialised at zero, so that a block starts as identity."""
    return nn.Sequential(nn.SiLU(), nn.Linear(width, count * width))


class SharedModulation(nn.Module):
    """A table (count·D,) on top of modulations that all blocks share (PixArt-α §2.3, "adaLN-single").

    Args:
        width: D.
        count: the number of shifts, scales and gates.
    """

    def __init__(self, *, width: int, count: int) -> None:
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.zeros(count * width))

    def forward(self, shared: Tensor) -> Tensor:
        """The shared modulations (B, count·D) to this block's, of the same shape."""
        return shared + self.scale_shift_table


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x·(1 + scale) + shift, for tokens x (B, N, D) and shift, scale (B, D)."""
    return torch.addcmul(shift.unsqueeze(1), x, 1 + scale.unsqueeze(1))


def gated(x: Tensor, gate: Tensor, update: Tensor) -> Tensor:
    """x + gate·update, for tokens x, update (B, N, D) and gate (B, D)."""
    return torch.addcmul(x, gate.unsqueeze(1), update)


class FinalLayer(nn.Module):
    """Tokens to outputs: layer norm, shift and scale from the vector, a linear layer that starts at zero."""

    def __init__(self, *, width: int, outputs: int) -> None:
        super().__init__()
        self.norm_final = norm(width)
        self.linear = nn.Linear(width, outputs)
        self.adaLN_modulation = modulation(width, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Tokens (B, N, D) and vector (B, D) to (B, N, outputs)."""
        shift, scale = self.adaLN_modulation(y).chunk(2, dim=1)
        return self.linear(modulate(self.norm_final(x), shift, scale))

"""Numbers and labels to vectors: time, step size, class."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

FREQUENCIES = 256
"""The width of the sine-cosine code in front of an embedding's MLP."""

OCTAVES = 16
"""A step of 2⁻¹⁶ or less, 0 included, is coded as 16 octaves."""


def at_least_float32(values: Tensor) -> Tensor:
    """The values in float32, or in their own dtype where that is finer: times must not be coded in bfloat16."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def sinusoid(values: Tensor, width: int, *, shift: int = 0) -> Tensor:
    """[cos(vω), sin(vω)], ω_i = exp(−ln 10⁴ · i/(half − shift)), i < half = width/2, in float32 at least.

    Args:
        values: (B,) of any floating dtype.
        width: an even number.
        shift: 0 as DiT, U-ViT and SD3 have it; 1 as the DiT of diffusers.

    Returns:
        (B, width).
    """
    half = width // 2
    omega = torch.exp(-math.log(1e4) * torch.arange(half, device=values.device, dtype=torch.float32) / (half - shift))
    angles = at_least_float32(values)[:, None] * omega
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class TimeEmbedding(nn.Module):
    """A number to a vector: sine-cosine code of scale·t + offset, then Linear, SiLU, Linear (DiT, SD3).

    Args:
        width: D of the result.
        scale: what t is multiplied by: 1000 is the field's; for t in [0, 1] without it, codes hardly differ.
        offset: what is added: −1 where training counted its steps from 0 (DDPM), 1 with scale −1 for time reversed.
        frequency_shift: as of :func:`sinusoid`.
    """

    def __init__(self, *, width: int, scale: float = 1000.0, offset: float = 0.0, frequency_shift: int = 0) -> None:
        super().__init__()
        self.scale, self.offset, self.frequency_shift = scale, offset, frequency_shift
        self.mlp = nn.Sequential(nn.Linear(FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """(B,) to (B, D)."""
        value = self.scale * at_least_float32(t) + self.offset
        code = sinusoid(value, FREQUENCIES, shift=self.frequency_shift)
        return self.mlp(code.to(next(self.mlp.parameters()).dtype))


class StepEmbedding(TimeEmbedding):
    """A step size d ≥ 0 to a vector: its octaves −log2 d, embedded as a time is.

    One octave is as far as time's 0 from 1, so that the halvings 1, 1/2, 1/4, … have nearly orthogonal codes (cosine
    similarity at most 0.2; the public shortcut code feeds the octave unscaled, where neighbours have 0.97). d = 0 is
    legal and is coded as 2⁻¹⁶. A backbone starts the last layer at zero, so that the network begins as the same one
    without a step.
    """

    def forward(self, t: Tensor) -> Tensor:
        """Steps (B,) to (B, D)."""
        return super().forward(-torch.log2(at_least_float32(t).clamp(min=2.0**-OCTAVES)))


class LabelEmbedding(nn.Module):
    """A table with a row for each class and, last, a row for none.

    With no classes the table has the null row alone, and serves as a learned constant.

    Args:
        classes: K.
        width: the width of a row.
    """

    def __init__(self, *, classes: int, width: int) -> None:
        super().__init__()
        self.classes = classes
        self.embedding_table = nn.Embedding(classes + 1, width)

    def forward(self, label: Tensor, drop: Tensor) -> Tensor:
        """Labels (B,) in 0…K−1 and drop (B,) bool to (B, width); the null row where dropped."""
        return self.embedding_table(torch.where(drop, self.classes, label))

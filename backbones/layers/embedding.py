"""Numbers, labels and vectors to vectors of the network's width: time, step size, class, pooled text."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from backbones.condition import Complete
from backbones.layers.null import NullRow

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


class LabelTokens(nn.Module):
    """A label, or its absence, as a few context tokens, for networks whose data have no context of their own.

    Args:
        classes: K; 0 where there are no labels, and the tokens are a learned constant.
        width: D.
        tokens: L.
    """

    def __init__(self, *, classes: int, width: int, tokens: int = 4) -> None:
        super().__init__()
        self.classes, self.tokens = classes, tokens
        self.embedding_table = nn.Embedding(classes + 1, tokens * width)

    def forward(self, condition: Complete, z: Tensor) -> Tensor:
        """The tokens (B, L, D) of the condition of samples z (B, ...)."""
        if self.classes:
            row = torch.where(condition.drop["label"], self.classes, condition.value["label"])
        else:
            row = torch.zeros(z.shape[0], dtype=torch.int64, device=z.device)
        return self.embedding_table(row).unflatten(1, (self.tokens, -1))


class PooledEmbedding(nn.Module):
    """A pooled vector (B, P) to (B, D): Linear, SiLU, Linear; a learned vector, at first 0, where it is dropped (SD3).

    Args:
        pooled: P.
        width: D.
        learned_null: whether the vector for what is dropped is a parameter; it is 0 where not.
    """

    def __init__(self, *, pooled: int, width: int, learned_null: bool = True) -> None:
        super().__init__()
        self.null = NullRow(pooled, learned=learned_null)
        self.mlp = nn.Sequential(nn.Linear(pooled, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, pooled: Tensor, drop: Tensor) -> Tensor:
        """(B, P), and drop (B,) bool, to (B, D)."""
        return self.mlp(self.null(pooled, drop))


def vector(
    t: Tensor,
    condition: Complete,
    step: Tensor | None,
    *,
    time: TimeEmbedding,
    steps: StepEmbedding | None,
    label: LabelEmbedding | None = None,
    pooled: PooledEmbedding | None = None,
) -> Tensor:
    """The sum y of what modulates a network's blocks: time (+ pooled) (+ label) (+ step), each by its embedding.

    Args:
        t: (B,) times.
        condition: holds what the embeddings ask for.
        step: (B,) step sizes; there if ``steps`` is.

    Returns:
        (B, D).
    """
    y = time(t)
    if pooled is not None:
        y = y + pooled(condition.value["pooled"], condition.drop["pooled"])
    if label is not None:
        y = y + label(condition.value["label"], condition.drop["label"])
    if steps is not None:
        assert step is not None
        y = y + steps(step)
    return y

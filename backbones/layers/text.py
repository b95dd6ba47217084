"""Text encoders that are trained with the network they serve.

Shapes: B batch, L ids of a caption in all sections together, T ids in one section, D width of a token.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from backbones.initialisation import Rules, normal, ones, xavier_uniform, zeros
from backbones.layers.attention import Attention
from backbones.layers.feed_forward import FeedForward
from backbones.layers.positions import check_positions, grid_positions
from backbones.spec import Spec, inputs_of, sections_of

DEPTH = 2
"""Blocks of an encoder: enough to relate the words of a caption of one clause."""

HEAD = 32
"""The width of a head, where it divides D."""

TEXT_RULES: Rules = (
    ("text_encoder.*.words.weight", normal(1.0)),
    ("text_encoder.*norm*.weight", ones),
    ("text_encoder.*.bias", zeros),
    ("text_encoder.*.weight", xavier_uniform),
)
"""Words start as long as position codes are, so that neither is lost in the other at the first layer norm."""


class TextBlock(nn.Module):
    """A pre-norm transformer block that does not look at padding."""

    def __init__(self, *, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width=width, heads=heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width=width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Tokens (B, T, D) and which of them may be attended to, (B, 1, 1, T) bool, to tokens (B, T, D)."""
        x = x + self.attn(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))


class TextEncoder(nn.Module):
    """Word ids to tokens: a table, sine-cosine positions, two bidirectional transformer blocks, a layer norm.

    Args:
        vocabulary: V, the number of ids.
        width: D, even.
    """

    def __init__(self, *, vocabulary: int, width: int) -> None:
        super().__init__()
        heads = width // HEAD if width % HEAD == 0 else 1
        self.width = width
        self.words = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList([TextBlock(width=width, heads=heads) for _ in range(DEPTH)])
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Ids (B, T) and which of them are words, (B, T) bool, to tokens (B, T, D)."""
        x = self.words(ids)
        x = x + grid_positions((ids.shape[1],), self.width, device=x.device, dtype=x.dtype)
        for block in self.blocks:
            x = block(x, mask[:, None, None])
        return self.norm(x)


class CaptionEncoder(nn.Module):
    """The ids of a caption to a context, its mask and a pooled vector, by one encoder for each section.

    Id 0 fills a section up: it is masked, and what is pooled is the mean of the words alone. The pooled vectors of the
    sections stand side by side. Of a caption without any word its first place is read.

    Args:
        spec: with a vocabulary, a context (L, D) and either no pooled vector or one of D for each section.

    Raises:
        ValueError: an odd D, or another width of the pooled vector.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        assert spec.context is not None
        width, self.sections, self.spec = spec.context[1], sections_of(spec), spec
        check_positions("the text encoder", width, 1)
        if spec.pooled not in (0, len(self.sections) * width):
            raise ValueError(
                f"pooled is {spec.pooled}; what {len(self.sections)} text encoders of width {width} give is "
                f"{len(self.sections) * width} wide, or 0 where nothing reads it"
            )
        self.encoders = nn.ModuleList([TextEncoder(vocabulary=spec.vocabulary, width=width) for _ in self.sections])

    def forward(self, condition: Mapping[str, Tensor] | None, z: Tensor) -> dict[str, Tensor]:
        """A condition with ids to one with context, context_mask and pooled; None to one that is dropped everywhere.

        Raises:
            ValueError: a part that comes from the caption itself, ids that are missing, or of another shape.
        """
        inputs = {name: shape for name, (shape, _) in inputs_of(self.spec).items()}
        if condition is None:
            blank = {name: z.new_zeros(len(z), *shape, dtype=torch.int64) for name, shape in inputs.items()}
            condition = {**blank, "drop": torch.ones(len(z), dtype=torch.bool, device=z.device)}
        foreign = [name for name in condition if name not in (*inputs, "drop")]
        if foreign or "context" not in condition:
            what = f"the condition has {', '.join(foreign)}" if foreign else "the condition lacks context"
            raise ValueError(f"{what}; with captions it holds {', '.join(inputs)}, and drop where rows are null")
        ids, length = condition["context"], sum(self.sections)
        if tuple(ids.shape) != (len(z), length) or ids.is_floating_point():
            raise ValueError(
                f"condition['context'] is {ids.dtype} {tuple(ids.shape)}; this backbone takes word ids, "
                f"torch.int64 ({len(z)}, {length})"
            )
        return dict(condition) | self._encode(ids)

    def _encode(self, ids: Tensor) -> dict[str, Tensor]:
        tokens, masks, pooled = [], [], []
        for part, encoder in zip(ids.split(self.sections, 1), self.encoders, strict=True):
            mask = (part != 0) | (torch.arange(part.shape[1], device=ids.device) == 0)
            context = encoder(part, mask)
            counted = mask.unsqueeze(-1).to(context.dtype)
            tokens.append(context)
            masks.append(mask)
            pooled.append((context * counted).sum(1) / counted.sum(1))
        found = {"context": torch.cat(tokens, 1), "context_mask": torch.cat(masks, 1)}
        return found | ({"pooled": torch.cat(pooled, 1)} if self.spec.pooled else {})

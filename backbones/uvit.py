"""U-ViT: a transformer in which time and condition are tokens, with long skip connections.

Bao et al., "All are Worth Words: A ViT Backbone for Diffusion Models", 2022 (arXiv 2209.12152). Parameter names
follow the public checkpoints. Shapes: B batch, N tokens (condition, time and patches), L context tokens, D width.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from backbones.base import Backbone, Complete, Spec
from backbones.checks import check_sides, check_sizes
from backbones.initialisation import Rules, fan_in_uniform, identity, normal, ones, truncated_normal, zeros
from backbones.layers.attention import Attention, key_mask
from backbones.layers.embedding import PooledEmbedding, StepEmbedding, at_least_float32, sinusoid
from backbones.layers.feed_forward import FeedForward
from backbones.layers.null import NullContext
from backbones.layers.patching import CONVOLUTIONS, PatchEmbed, grid_of, patch_features, unpatchify
from backbones.layers.positions import resample

NARROWEST = 512
"""The smallest published width."""


class UViTBlock(nn.Module):
    """A pre-norm transformer block; with ``skip``, one that first joins an earlier block's output to its input."""

    def __init__(self, *, width: int, heads: int, mlp_ratio: float, skip: bool = False) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width=width, heads=heads, qkv_bias=False)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width=width, ratio=mlp_ratio, approximate="none")
        self.skip_linear = nn.Linear(2 * width, width) if skip else None

    def forward(self, x: Tensor, skip: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Tokens (B, N, D), those of the long skip, and key mask (B, 1, 1, N) to tokens (B, N, D)."""
        if self.skip_linear is not None:
            assert skip is not None
            x = self.skip_linear(torch.cat([x, skip], dim=-1))
        x = x + self.attn(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))


class UViT(Backbone):
    """U-ViT (Bao et al. 2022): time, condition and patches all tokens, with long skips; any condition.

    Tokens in the order label, pooled, time, context, patches, with learned positions. The time token is the sine-cosine
    code itself; the step embedding is added to it. Of samples with other sides than the data's, the patches' positions
    are interpolated; a context may not be longer than the data's. The parameter counts are the published ones, the null
    label's row included.
    Initialised as published, but for two things. The linear layer at the end starts at zero, and the convolution
    behind it as the identity, so that the first gradient already reaches the linear layer (a convolution at zero holds
    it up). And where D is below 512, the smallest published width, the published std of 0.02 is 0.02·√(512/D), so that
    narrow layers start with the gain of the published ones.

    Args:
        spec: shape (C, L), (C, H, W) or (C, T, H, W) and what its condition has; filled in by the framework.
        step: whether the network is told the step size; filled in by the framework.
        patch: the side of a patch; divides every side of a sample.
        width: D, even and a multiple of heads.
        depth: number of blocks without the middle one; even.
        heads: attention heads.
        mlp_ratio: hidden width of a block's MLP divided by D.
        conv: whether a 3×3 convolution follows the laid-out patches (the published U-ViT-H has none).
        time_scale: what t is multiplied by before its sine-cosine code.
        learned_null: whether what stands for a dropped context or pooled vector is a parameter; 0 if not, as it has to
            be for public weights.

    Raises:
        ValueError: a size that does not fit.
    """

    takes: ClassVar[tuple[str, ...]] = ("label", "context", "pooled")
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "U-ViT-S/2": {"patch": 2, "width": 512, "depth": 12, "heads": 8},
        "U-ViT-S/4": {"patch": 4, "width": 512, "depth": 12, "heads": 8},
        "U-ViT-S-Deep/2": {"patch": 2, "width": 512, "depth": 16, "heads": 8},
        "U-ViT-M/2": {"patch": 2, "width": 768, "depth": 16, "heads": 12},
        "U-ViT-M/4": {"patch": 4, "width": 768, "depth": 16, "heads": 12},
        "U-ViT-L/2": {"patch": 2, "width": 1024, "depth": 20, "heads": 16},
        "U-ViT-L/4": {"patch": 4, "width": 1024, "depth": 20, "heads": 16},
        "U-ViT-H/2": {"patch": 2, "width": 1152, "depth": 28, "heads": 16, "conv": False},
        "U-ViT-H/4": {"patch": 4, "width": 1152, "depth": 28, "heads": 16, "conv": False},
    }
    rules: Rules = (
        ("decoder_pred.*", zeros),
        ("final_layer.weight", identity),
        ("step_embedder.mlp.2.*", zeros),
        ("*null*", zeros),
        ("label_emb.weight", normal(1.0)),
        ("patch_embed.proj.weight", fan_in_uniform),
        ("*norm*.weight", ones),
        ("*.bias", zeros),
    )

    def __init__(
        self,
        spec: Spec,
        *,
        step: bool = False,
        patch: int = 4,
        width: int = 96,
        depth: int = 2,
        heads: int = 4,
        mlp_ratio: float = 4.0,
        conv: bool = True,
        time_scale: float = 1000.0,
        learned_null: bool = True,
    ) -> None:
        super().__init__(spec, step=step)
        self._size: dict[str, Any] = {"width": width, "heads": heads, "mlp_ratio": mlp_ratio}
        check_sizes(family="U-ViT", spec=spec, patch=patch, depth=depth, time_scale=time_scale, **self._size)
        if depth % 2:
            raise ValueError(f"depth={depth}: U-ViT pairs its first with its last blocks; allowed: even numbers")
        if width % 2:
            raise ValueError(f"width={width}: U-ViT's time token is half cosine, half sine; allowed: even numbers")
        self.patch, self.width, self.depth, self.heads = patch, width, depth, heads
        self.mlp_ratio, self.conv, self.time_scale, self.learned_null = mlp_ratio, conv, time_scale, learned_null
        self.rules = (*UViT.rules, ("*", truncated_normal(0.02 * max(1.0, math.sqrt(NARROWEST / width)))))
        channels, dims = spec.shape[0], len(spec.shape) - 1
        self.patch_embed = PatchEmbed(channels=channels, patch=patch, width=width, dims=dims)
        self.label_emb = nn.Embedding(spec.num_classes + 1, width) if spec.num_classes else None
        self.pooled_embed = (
            PooledEmbedding(pooled=spec.pooled, width=width, learned_null=learned_null) if spec.pooled else None
        )
        self.null_context = NullContext(*spec.context, learned=learned_null) if spec.context else None
        self.context_embed = nn.Linear(spec.context[1], width) if spec.context else None
        self.step_embedder = StepEmbedding(width=width, scale=time_scale) if step else None
        self.context_tokens = spec.context[0] if spec.context else 0
        self.extras = 1 + (spec.num_classes > 0) + (spec.pooled > 0) + self.context_tokens
        self.grid = grid_of(spec.shape, patch)
        self.pos_embed = nn.Parameter(torch.zeros(1, self.extras + math.prod(self.grid), width))
        self.in_blocks = self._half(skip=False)
        self.mid_block = UViTBlock(**self._size)
        self.out_blocks = self._half(skip=True)
        self.norm = nn.LayerNorm(width)
        self.decoder_pred = nn.Linear(width, patch_features(spec.shape, patch))
        self.final_layer = CONVOLUTIONS[dims](channels, channels, 3, padding=1) if conv else None

    def _half(self, *, skip: bool) -> nn.ModuleList:
        return nn.ModuleList([UViTBlock(**self._size, skip=skip) for _ in range(self.depth // 2)])

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse other channels and axes than the data's, and sides that are not whole patches."""
        check_sides(shape, self.spec, self.patch)

    def compute(self, z: Tensor, t: Tensor, condition: Complete, step: Tensor | None) -> Tensor:
        """Embed, pass through both halves, lay the patches out again."""
        grid = grid_of(tuple(z.shape[1:]), self.patch)
        head, mask = self._head(z, t, condition, step)
        x = torch.cat([*head, self.patch_embed(z)], dim=1) + self._positions(grid)
        if mask is not None:
            before = mask.new_ones(mask.shape[0], self.extras - self.context_tokens)
            mask = key_mask(torch.cat([before, mask], dim=1), math.prod(grid))
        skips: tuple[Tensor, ...] = ()
        for block in self.in_blocks:
            x = block(x, None, mask)
            skips = (x, *skips)
        x = self.mid_block(x, None, mask)
        for block, skip in zip(self.out_blocks, skips, strict=True):
            x = block(x, skip, mask)
        x = unpatchify(self.decoder_pred(self.norm(x))[:, self.extras :], grid, self.patch)
        return x if self.final_layer is None else self.final_layer(x)

    def _positions(self, grid: tuple[int, ...]) -> Tensor:
        """The positions (1, N, D) of all tokens, for patches in this grid."""
        if grid == self.grid:
            return self.pos_embed
        head, patches = self.pos_embed[:, : self.extras], self.pos_embed[:, self.extras :]
        return torch.cat([head, resample(patches, self.grid, grid)], dim=1)

    def _head(
        self, z: Tensor, t: Tensor, condition: Complete, step: Tensor | None
    ) -> tuple[list[Tensor], Tensor | None]:
        """The tokens in front of the patches, each (B, some, D), and which of the context's (B, L) are, or None."""
        time = sinusoid(self.time_scale * at_least_float32(t), self.width).to(z.dtype)
        if self.step_embedder is not None:
            assert step is not None
            time = time + self.step_embedder(step)
        tokens, mask = [time.unsqueeze(1)], None
        if self.pooled_embed is not None:
            pooled = self.pooled_embed(condition.value["pooled"], condition.drop["pooled"])
            tokens = [pooled.unsqueeze(1), *tokens]
        if self.label_emb is not None:
            label = torch.where(condition.drop["label"], self.spec.num_classes, condition.value["label"])
            tokens = [self.label_emb(label).unsqueeze(1), *tokens]
        if self.null_context is not None and self.context_embed is not None:
            given = condition.value["context"].shape[1]
            if given > self.context_tokens:
                raise ValueError(
                    f"condition['context'] has {given} tokens; this U-ViT has positions for {self.context_tokens}"
                )
            context, mask = self.null_context(condition)
            tokens = [*tokens, self.context_embed(context)]
        return tokens, mask

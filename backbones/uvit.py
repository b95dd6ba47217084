"""U-ViT: a transformer in which time and condition are tokens, with long skip connections.

Bao et al., "All are Worth Words: A ViT Backbone for Diffusion Models", 2022 (arXiv 2209.12152). Parameter names
follow the public checkpoints. Shapes: B batch, N tokens (time, label and patches), D width.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from backbones.base import Backbone, Complete, Spec
from backbones.checks import check_heads, check_patches, check_positive
from backbones.initialisation import Rules, fan_in_uniform, identity, normal, ones, truncated_normal, zeros
from backbones.layers.attention import Attention
from backbones.layers.embedding import StepEmbedding, at_least_float32, sinusoid
from backbones.layers.feed_forward import FeedForward
from backbones.layers.patching import CONVOLUTIONS, PatchEmbed, grid_of, patch_features, unpatchify

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

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """Tokens (B, N, D), and those of the long skip, to tokens (B, N, D)."""
        if self.skip_linear is not None:
            assert skip is not None
            x = self.skip_linear(torch.cat([x, skip], dim=-1))
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class UViT(Backbone):
    """U-ViT (Bao et al. 2022): time, label and patches all tokens, with long skips; labels or no condition.

    Tokens in the order label, time, patches, with learned positions. The time token is the sine-cosine code itself;
    the step embedding is added to it. The parameter counts are the published ones, the null label's row included.
    Initialised as published, but for two things. The linear layer at the end starts at zero, and the convolution
    behind it as the identity, so that the first gradient already reaches the linear layer (a convolution at zero holds
    it up). And where D is below 512, the smallest published width, the published std of 0.02 is 0.02·√(512/D), so that
    narrow layers start with the gain of the published ones.

    Args:
        spec: shape (C, L), (C, H, W) or (C, T, H, W) and number of classes; filled in by the framework.
        step: whether the network is told the step size; filled in by the framework.
        patch: the side of a patch; divides every side of a sample.
        width: D, even and a multiple of heads.
        depth: number of blocks without the middle one; even.
        heads: attention heads.
        mlp_ratio: hidden width of a block's MLP divided by D.
        conv: whether a 3×3 convolution follows the laid-out patches (the published U-ViT-H has none).
        time_scale: what t is multiplied by before its sine-cosine code.

    Raises:
        ValueError: a size that does not fit, or data with context or a pooled vector.
    """

    takes: ClassVar[tuple[str, ...]] = ("label",)
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
    ) -> None:
        super().__init__(spec, step=step)
        check_positive(width=width, depth=depth, mlp_ratio=mlp_ratio, time_scale=time_scale)
        check_patches("U-ViT", spec.shape, patch)
        check_heads(width, heads)
        if depth % 2:
            raise ValueError(f"depth={depth}: U-ViT pairs its first with its last blocks; allowed: even numbers")
        if width % 2:
            raise ValueError(f"width={width}: U-ViT's time token is half cosine, half sine; allowed: even numbers")
        self.patch, self.width, self.depth, self.heads = patch, width, depth, heads
        self.mlp_ratio, self.conv, self.time_scale = mlp_ratio, conv, time_scale
        self.rules = (*UViT.rules, ("*", truncated_normal(0.02 * max(1.0, math.sqrt(NARROWEST / width)))))
        channels, dims = spec.shape[0], len(spec.shape) - 1
        self.patch_embed = PatchEmbed(channels=channels, patch=patch, width=width, dims=dims)
        self.label_emb = nn.Embedding(spec.num_classes + 1, width) if spec.num_classes else None
        self.step_embedder = StepEmbedding(width=width, scale=time_scale) if step else None
        self.extras = 2 if spec.num_classes else 1
        tokens = self.extras + math.prod(grid_of(spec.shape, patch))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, width))
        self.in_blocks = self._half(skip=False)
        self.mid_block = UViTBlock(width=width, heads=heads, mlp_ratio=mlp_ratio)
        self.out_blocks = self._half(skip=True)
        self.norm = nn.LayerNorm(width)
        self.decoder_pred = nn.Linear(width, patch_features(spec.shape, patch))
        self.final_layer = CONVOLUTIONS[dims](channels, channels, 3, padding=1) if conv else None

    def _half(self, *, skip: bool) -> nn.ModuleList:
        size = {"width": self.width, "heads": self.heads, "mlp_ratio": self.mlp_ratio}
        return nn.ModuleList([UViTBlock(**size, skip=skip) for _ in range(self.depth // 2)])

    def compute(self, z: Tensor, t: Tensor, condition: Complete, step: Tensor | None) -> Tensor:
        """Embed, pass through both halves, lay the patches out again."""
        x = self._tokens(z, t, condition, step)
        skips: tuple[Tensor, ...] = ()
        for block in self.in_blocks:
            x = block(x)
            skips = (x, *skips)
        x = self.mid_block(x)
        for block, skip in zip(self.out_blocks, skips, strict=True):
            x = block(x, skip)
        x = self.decoder_pred(self.norm(x))[:, self.extras :]
        x = unpatchify(x, grid_of(tuple(z.shape[1:]), self.patch), self.patch)
        return x if self.final_layer is None else self.final_layer(x)

    def _tokens(self, z: Tensor, t: Tensor, condition: Complete, step: Tensor | None) -> Tensor:
        time = sinusoid(self.time_scale * at_least_float32(t), self.width).to(z.dtype)
        if self.step_embedder is not None:
            assert step is not None
            time = time + self.step_embedder(step)
        tokens = [time.unsqueeze(1), self.patch_embed(z)]
        if self.label_emb is not None:
            label = torch.where(condition.drop["label"], self.spec.num_classes, condition.value["label"])
            tokens = [self.label_emb(label).unsqueeze(1), *tokens]
        return torch.cat(tokens, dim=1) + self.pos_embed

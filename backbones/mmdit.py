"""MM-DiT: text and image tokens with separate weights that attend jointly.

Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis" (SD3), 2024 (arXiv
2403.03206), §4 and Fig. 2. Parameter names follow the public checkpoints. Shapes: B batch, N image tokens, L context
tokens, D width.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from backbones.base import Backbone, Complete, Spec
from backbones.checks import check_heads, check_patches, check_positive
from backbones.initialisation import Rules, normal, ones, xavier_uniform, zeros
from backbones.layers.attention import Attention, Heads, attend, join
from backbones.layers.embedding import LabelEmbedding, StepEmbedding, TimeEmbedding
from backbones.layers.feed_forward import FeedForward
from backbones.layers.modulation import FinalLayer, gated, modulate, modulation, norm
from backbones.layers.null import NullRow
from backbones.layers.patching import PatchEmbed, grid_of, patch_features, unpatchify
from backbones.layers.positions import check_positions, grid_positions

LABEL_TOKENS = 4
"""Context tokens made of a label where the data has no context of its own."""


class Stream(nn.Module):
    """One token stream's weights in a joint block: what comes before the attention, and what comes after.

    Args:
        last: the context stream of the last block, whose output nothing reads: no projection and no MLP.
    """

    def __init__(self, *, width: int, heads: int, mlp_ratio: float, qk_norm: bool, last: bool = False) -> None:
        super().__init__()
        self.last = last
        self.norm1 = norm(width)
        self.attn = Attention(width=width, heads=heads, qk_norm=qk_norm, project=not last)
        self.adaLN_modulation = modulation(width, 2 if last else 6)
        if not last:
            self.norm2 = norm(width)
            self.mlp = FeedForward(width=width, ratio=mlp_ratio)

    def before(self, x: Tensor, y: Tensor) -> tuple[Heads, tuple[Tensor, ...]]:
        """Queries, keys and values of tokens x (B, N, D), and the modulations (B, D) that :meth:`after` needs."""
        shift, scale, *rest = self.adaLN_modulation(y).chunk(2 if self.last else 6, dim=1)
        return self.attn.split(modulate(self.norm1(x), shift, scale)), tuple(rest)

    def after(self, x: Tensor, attended: Tensor, rest: tuple[Tensor, ...]) -> Tensor:
        """Add what was attended to, then the MLP, each through its gate; x itself where nothing reads the result."""
        if self.last:
            return x
        gate1, shift2, scale2, gate2 = rest
        x = gated(x, gate1, self.attn.proj(attended))
        return gated(x, gate2, self.mlp(modulate(self.norm2(x), shift2, scale2)))


class JointBlock(nn.Module):
    """Two streams of tokens, each with its own weights, in one attention."""

    def __init__(self, *, width: int, heads: int, mlp_ratio: float, qk_norm: bool, last: bool) -> None:
        super().__init__()
        size = {"width": width, "heads": heads, "mlp_ratio": mlp_ratio, "qk_norm": qk_norm}
        self.context_block = Stream(**size, last=last)
        self.x_block = Stream(**size)

    def forward(self, context: Tensor, x: Tensor, y: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Context (B, L, D), image tokens (B, N, D), vector (B, D) and key mask (B, 1, 1, L+N) to both streams."""
        context_heads, context_rest = self.context_block.before(context, y)
        x_heads, x_rest = self.x_block.before(x, y)
        attended = attend(*join(context_heads, x_heads), mask)
        length = context.shape[1]
        context = self.context_block.after(context, attended[:, :length], context_rest)
        return context, self.x_block.after(x, attended[:, length:], x_rest)


class PooledEmbedding(nn.Module):
    """A pooled text vector (B, P) to (B, D): Linear, SiLU, Linear."""

    def __init__(self, *, pooled: int, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(pooled, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, P) to (B, D)."""
        return self.mlp(pooled)


class MMDiT(Backbone):
    """MM-DiT (SD3, Esser et al. 2024): context and image tokens with separate weights, one attention; any condition.

    The vector y = time (+ pooled) (+ label) (+ step) modulates both streams. Data without a context still has a
    context stream: a table turns the label (or its absence) into 4 tokens. A dropped row has a learned null row in
    place of each context token, all of them attended to, and of the pooled vector; these start at zero, which is
    SD3's null, and come on top of the published count D²(36d − 9) + D(30d + 6526) + 64.

    Args:
        spec: shape, number of classes, context (L, width) and pooled width; filled in by the framework.
        step: whether the network is told the step size; filled in by the framework.
        patch: the side of a patch; divides every side of a sample.
        width: D, a multiple of heads and of 2·(number of axes); in the paper's models 64·depth.
        depth: number of joint blocks.
        heads: attention heads; in the paper's models = depth.
        mlp_ratio: hidden width of a block's MLPs divided by D.
        qk_norm: RMS-normalise queries and keys in both streams (the paper's §5.3.2, for bf16 at high resolution).
        time_scale: what t is multiplied by before its sine-cosine code.

    Raises:
        ValueError: a size that does not fit.
    """

    takes: ClassVar[tuple[str, ...]] = ("label", "context", "pooled")
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "MMDiT-d4": {"patch": 2, "width": 256, "depth": 4, "heads": 4},
        "MMDiT-d6": {"patch": 2, "width": 384, "depth": 6, "heads": 6},
        "MMDiT-d8": {"patch": 2, "width": 512, "depth": 8, "heads": 8},
        "MMDiT-d10": {"patch": 2, "width": 640, "depth": 10, "heads": 10},
        "MMDiT-d12": {"patch": 2, "width": 768, "depth": 12, "heads": 12},
        "MMDiT-d15": {"patch": 2, "width": 960, "depth": 15, "heads": 15},
        "MMDiT-d18": {"patch": 2, "width": 1152, "depth": 18, "heads": 18},
        "MMDiT-d24": {"patch": 2, "width": 1536, "depth": 24, "heads": 24},
        "MMDiT-d30": {"patch": 2, "width": 1920, "depth": 30, "heads": 30},
        "MMDiT-d38": {"patch": 2, "width": 2432, "depth": 38, "heads": 38},
    }
    rules: Rules = (
        ("*adaLN_modulation.1.*", zeros),
        ("final_layer.linear.*", zeros),
        ("step_embedder.mlp.2.*", zeros),
        ("null_*", zeros),
        ("*_embedder.mlp.*.weight", normal(0.02)),
        ("*.embedding_table.weight", normal(0.02)),
        ("*.ln_[qk].weight", ones),
        ("*.bias", zeros),
        ("*.weight", xavier_uniform),
    )

    def __init__(
        self,
        spec: Spec,
        *,
        step: bool = False,
        patch: int = 4,
        width: int = 64,
        depth: int = 4,
        heads: int = 2,
        mlp_ratio: float = 4.0,
        qk_norm: bool = False,
        time_scale: float = 1000.0,
    ) -> None:
        super().__init__(spec, step=step)
        check_positive(width=width, depth=depth, mlp_ratio=mlp_ratio, time_scale=time_scale)
        check_patches("MM-DiT", spec.shape, patch)
        check_heads(width, heads)
        dims = len(spec.shape) - 1
        check_positions("MM-DiT", width, dims)
        self.patch, self.width, self.depth, self.heads = patch, width, depth, heads
        self.mlp_ratio, self.qk_norm, self.time_scale = mlp_ratio, qk_norm, time_scale
        self.x_embedder = PatchEmbed(channels=spec.shape[0], patch=patch, width=width, dims=dims)
        self.t_embedder = TimeEmbedding(width=width, scale=time_scale)
        self.step_embedder = StepEmbedding(width=width, scale=time_scale) if step else None
        self._build_condition(spec)
        size = {"width": width, "heads": heads, "mlp_ratio": mlp_ratio, "qk_norm": qk_norm}
        self.joint_blocks = nn.ModuleList([JointBlock(**size, last=i == depth - 1) for i in range(depth)])
        self.final_layer = FinalLayer(width=width, outputs=patch_features(spec.shape, patch))

    def _build_condition(self, spec: Spec) -> None:
        width, classes = self.width, spec.num_classes
        self.y_embedder = PooledEmbedding(pooled=spec.pooled, width=width) if spec.pooled else None
        self.null_pooled = NullRow(spec.pooled) if spec.pooled else None
        self.label_embedder = LabelEmbedding(classes=classes, width=width) if classes else None
        if spec.context is None:
            self.label_context = LabelEmbedding(classes=classes, width=LABEL_TOKENS * width)
            self.context_embedder, self.null_context = None, None
        else:
            self.label_context = None
            self.context_embedder = nn.Linear(spec.context[1], width)
            self.null_context = NullRow(spec.context[1])

    def compute(self, z: Tensor, t: Tensor, condition: Complete, step: Tensor | None) -> Tensor:
        """Embed, pass both streams through the blocks, lay the image's patches out again."""
        grid = grid_of(tuple(z.shape[1:]), self.patch)
        y = self._vector(t, condition, step)
        context, mask = self._context(z, condition)
        x = self.x_embedder(z)
        x = x + grid_positions(grid, self.width, device=x.device, dtype=x.dtype)
        if mask is not None:
            mask = torch.cat([mask, mask.new_ones(x.shape[:2])], dim=1)[:, None, None]
        for block in self.joint_blocks:
            context, x = block(context, x, y, mask)
        return unpatchify(self.final_layer(x, y), grid, self.patch)

    def _vector(self, t: Tensor, condition: Complete, step: Tensor | None) -> Tensor:
        value, drop = condition.value, condition.drop
        y = self.t_embedder(t)
        if self.y_embedder is not None and self.null_pooled is not None:
            y = y + self.y_embedder(self.null_pooled(value["pooled"], drop["pooled"]))
        if self.label_embedder is not None:
            y = y + self.label_embedder(value["label"], drop["label"])
        if self.step_embedder is not None:
            assert step is not None
            y = y + self.step_embedder(step)
        return y

    def _context(self, z: Tensor, condition: Complete) -> tuple[Tensor, Tensor | None]:
        """Context tokens (B, L, D), and which of them (B, L) may be attended to, or None for all."""
        value, drop = condition.value, condition.drop
        if self.context_embedder is not None and self.null_context is not None:
            mask = value.get("context_mask")
            mask = None if mask is None else mask.bool() | drop["context"][:, None]
            return self.context_embedder(self.null_context(value["context"], drop["context"])), mask
        assert self.label_context is not None
        if "label" in value:
            tokens = self.label_context(value["label"], drop["label"])
        else:
            none = torch.zeros(z.shape[0], dtype=torch.int64, device=z.device)
            tokens = self.label_context(none, none == 0)
        return tokens.unflatten(1, (LABEL_TOKENS, self.width)), None

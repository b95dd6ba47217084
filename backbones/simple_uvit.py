"""SimpleUViT: a convolutional U-Net whose lowest resolution is a transformer.

Hoogeboom et al., "simple diffusion: End-to-end diffusion for high resolution images", 2023 (arXiv 2301.11093), §3.2 and
appendix B ("U-ViT" there; SD3's baseline "UViT", not Bao's U-ViT). Shapes: B batch, N tokens, D width.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from backbones.base import Backbone, Complete, Spec
from backbones.checks import check_positive, check_sides, check_sizes
from backbones.cross_dit import CrossDiTBlock
from backbones.dit import DiTBlock
from backbones.initialisation import ADALN_ZERO, Rules, ones, zeros
from backbones.layers.convolution import ResidualBlock, doubled, group_norm, halved
from backbones.layers.embedding import LabelEmbedding, PooledEmbedding, StepEmbedding, TimeEmbedding, vector
from backbones.layers.null import NullContext
from backbones.layers.patching import CONVOLUTIONS
from backbones.layers.positions import check_positions, grid_positions


class SimpleUViT(Backbone):
    """SimpleUViT (Hoogeboom et al. 2023; SD3's "UViT"): convolutions above, a transformer below; any condition.

    Each level is a few residual blocks, and a map half as wide as that above it, made of means; at the bottom every
    place is a token of a transformer with adaLN-Zero, whose blocks also attend to the context where the data have one,
    as CrossDiT's do. On the way up each residual block is also given the map of its counterpart on the way down. The
    vector y = time (+ pooled) (+ label) (+ step) modulates all blocks. The paper gives its sizes for images of 128 and
    more pixels; here they are options. Samples of any sides are taken that can be halved at every level.

    Args:
        spec: shape (C, L), (C, H, W) or (C, T, H, W) and what its condition has; filled in by the framework.
        step: whether the network is told the step size; filled in by the framework.
        channels: of the residual blocks of each level, the highest resolution first.
        blocks: residual blocks of a level, on each of the two ways.
        width: D, a multiple of heads and of 2·(number of axes).
        depth: blocks of the transformer.
        heads: attention heads.
        mlp_ratio: hidden width of a transformer block's MLP divided by D.
        time_scale: what t is multiplied by before its sine-cosine code.

    Raises:
        ValueError: a size that does not fit.
    """

    takes: ClassVar[tuple[str, ...]] = ("label", "context", "pooled")
    rules: Rules = (
        ("*.conv2.*", zeros),
        ("final_layer.*", zeros),
        ("*norm*.weight", ones),
        ("*.cross_attn.proj.*", zeros),
        *ADALN_ZERO,
    )

    def __init__(
        self,
        spec: Spec,
        *,
        step: bool = False,
        channels: tuple[int, ...] = (32, 64),
        blocks: int = 1,
        width: int = 96,
        depth: int = 2,
        heads: int = 3,
        mlp_ratio: float = 4.0,
        time_scale: float = 1000.0,
    ) -> None:
        super().__init__(spec, step=step)
        if not channels or min(channels) < 1:
            raise ValueError(f"channels={list(channels)}; allowed: a number above 0 for each level, one level at least")
        check_positive(blocks=blocks)
        self.channels, self.blocks, self.width, self.depth, self.heads = channels, blocks, width, depth, heads
        self.mlp_ratio, self.time_scale = mlp_ratio, time_scale
        self._check_levels(spec.shape)
        size: dict[str, Any] = {"width": width, "heads": heads, "mlp_ratio": mlp_ratio}
        check_sizes(family="SimpleUViT", spec=spec, patch=self.factor, depth=depth, time_scale=time_scale, **size)
        dims = len(spec.shape) - 1
        check_positions("SimpleUViT", width, dims)
        convolution = CONVOLUTIONS[dims]
        self.t_embedder = TimeEmbedding(width=width, scale=time_scale)
        self.y_embedder = LabelEmbedding(classes=spec.num_classes, width=width) if spec.num_classes else None
        self.pooled_embedder = PooledEmbedding(pooled=spec.pooled, width=width) if spec.pooled else None
        self.step_embedder = StepEmbedding(width=width, scale=time_scale) if step else None
        self.null_context = NullContext(*spec.context) if spec.context else None
        self.context_embedder = nn.Linear(spec.context[1], width) if spec.context else None
        each = [count for count in channels for _ in range(blocks)]
        self.x_embedder = convolution(spec.shape[0], channels[0], 3, padding=1)
        self.down_blocks = nn.ModuleList([ResidualBlock(inputs=n, outputs=n, width=width, dims=dims) for n in each])
        below = [*channels[1:], width]
        self.down_layers = nn.ModuleList([convolution(a, b, 1) for a, b in zip(channels, below, strict=True)])
        self.middle_blocks = nn.ModuleList(
            [CrossDiTBlock(**size, shared=False) if spec.context else DiTBlock(**size) for _ in range(depth)]
        )
        self.up_layers = nn.ModuleList([convolution(b, a, 1) for a, b in zip(channels, below, strict=True)])
        self.up_blocks = nn.ModuleList([ResidualBlock(inputs=2 * n, outputs=n, width=width, dims=dims) for n in each])
        self.norm = group_norm(channels[0])
        self.final_layer = convolution(channels[0], spec.shape[0], 3, padding=1)

    @property
    def factor(self) -> int:
        """By how much a map is narrower at the bottom."""
        return 2 ** len(self.channels)

    def _check_levels(self, shape: tuple[int, ...]) -> None:
        sides = shape[1:]
        if sides and any(side % self.factor for side in sides):
            most = 0
            while all(side % 2 ** (most + 1) == 0 for side in sides):
                most += 1
            allowed = f"1 to {most} levels" if most else "none, as a side is odd: use backbone=DiT"
            raise ValueError(
                f"channels={list(self.channels)} halve the sides {'×'.join(map(str, sides))} {len(self.channels)} "
                f"times; allowed: {allowed}"
            )

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse other channels and axes than the data's, and sides that cannot be halved at every level."""
        check_sides(shape, self.spec, self.factor)

    def compute(self, z: Tensor, t: Tensor, condition: Complete, step: Tensor | None) -> Tensor:
        """Down, through the transformer, and up again."""
        y = vector(
            t, condition, step, time=self.t_embedder, steps=self.step_embedder, label=self.y_embedder,
            pooled=self.pooled_embedder,
        )  # fmt: skip
        x, skips = self.x_embedder(z), []
        for level, layer in enumerate(self.down_layers):
            for index in range(level * self.blocks, (level + 1) * self.blocks):
                x = self.down_blocks[index](x, y)
                skips.append(x)
            x = layer(halved(x))
        x = self._transform(x, y, condition)
        for level in reversed(range(len(self.channels))):
            x = doubled(self.up_layers[level](x))
            for index in reversed(range(level * self.blocks, (level + 1) * self.blocks)):
                x = self.up_blocks[index](torch.cat([x, skips[index]], dim=1), y)
        return self.final_layer(silu(self.norm(x)))

    def _transform(self, x: Tensor, y: Tensor, condition: Complete) -> Tensor:
        """The map at the bottom (B, D, …) through the transformer."""
        grid = tuple(x.shape[2:])
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + grid_positions(grid, self.width, device=x.device, dtype=x.dtype)
        context: tuple[Tensor | None, ...] = ()
        if self.null_context is not None and self.context_embedder is not None:
            given, mask = self.null_context(condition)
            context = (self.context_embedder(given), None if mask is None else mask[:, None, None])
        for block in self.middle_blocks:
            tokens = block(tokens, y, *context)
        return tokens.transpose(1, 2).unflatten(2, grid)

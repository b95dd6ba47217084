"""CrossDiT: a DiT whose blocks also attend to text, the backbone of PixArt-α.

Esser et al. (SD3), 2024 (arXiv 2403.03206), §5.2.3; Chen et al., "PixArt-α", 2023 (arXiv 2310.00426), §2.3. Parameter
names follow the public checkpoints of DiT and PixArt-α. Shapes: B batch, N patches, L context tokens, D width.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from backbones.base import Backbone, Complete, Spec
from backbones.checks import check_sides, check_sizes
from backbones.initialisation import ADALN_ZERO, Rules, zeros
from backbones.layers.attention import CrossAttention
from backbones.layers.block import AdaLNBlock
from backbones.layers.embedding import (
    LabelEmbedding,
    LabelTokens,
    PooledEmbedding,
    StepEmbedding,
    TimeEmbedding,
    vector,
)
from backbones.layers.modulation import FinalLayer, modulation
from backbones.layers.null import NullContext
from backbones.layers.patching import PatchEmbed, grid_of, patch_features, unpatchify
from backbones.layers.positions import check_positions, grid_positions


class CrossDiTBlock(AdaLNBlock):
    """A DiT block with attention to the context between its halves: without norm, without gate, added as it is."""

    def __init__(self, *, width: int, heads: int, mlp_ratio: float, shared: bool) -> None:
        super().__init__(width=width, heads=heads, mlp_ratio=mlp_ratio, shared=shared)
        self.cross_attn = CrossAttention(width=width, heads=heads)

    def forward(self, x: Tensor, y: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens (B, N, D), what modulates, context (B, L, D) and its key mask (B, 1, 1, L) to tokens (B, N, D)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulations(y)
        x = self.attend(x, shift1, scale1, gate1)
        x = x + self.cross_attn(x, context, mask)
        return self.feed(x, shift2, scale2, gate2)


class CrossDiT(Backbone):
    """CrossDiT (SD3's baseline after PixArt-α): DiT with cross-attention to the context in each block; any condition.

    The vector y = time (+ pooled) (+ label) (+ step) modulates every block; context tokens, through a linear layer, are
    the keys and values of a second attention and are not changed by the blocks. Data without a context still have one:
    a table turns the label (or its absence) into 4 tokens. With ``shared_adaln`` one layer makes the modulations of all
    blocks and each block adds a table of 6·D numbers: a quarter fewer parameters. Both start at zero, unlike
    PixArt-α's random tables, which are for the weights of a trained DiT; the cross-attention's projection starts at
    zero as there. So every block starts as the identity. Samples of any sides are taken.

    Args:
        spec: shape (C, L), (C, H, W) or (C, T, H, W) and what its condition has; filled in by the framework.
        step: whether the network is told the step size; filled in by the framework.
        patch: the side of a patch; divides every side of a sample.
        width: D, a multiple of heads and of 2·(number of axes).
        depth: number of blocks.
        heads: heads of both attentions.
        mlp_ratio: hidden width of a block's MLP divided by D.
        shared_adaln: whether the blocks share the layer that modulates them ("adaLN-single").
        time_scale: what t is multiplied by before its sine-cosine code.

    Raises:
        ValueError: a size that does not fit.
    """

    takes: ClassVar[tuple[str, ...]] = ("label", "context", "pooled")
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "CrossDiT-S/2": {"patch": 2, "width": 384, "depth": 12, "heads": 6},
        "CrossDiT-S/4": {"patch": 4, "width": 384, "depth": 12, "heads": 6},
        "CrossDiT-S/8": {"patch": 8, "width": 384, "depth": 12, "heads": 6},
        "CrossDiT-B/2": {"patch": 2, "width": 768, "depth": 12, "heads": 12},
        "CrossDiT-B/4": {"patch": 4, "width": 768, "depth": 12, "heads": 12},
        "CrossDiT-B/8": {"patch": 8, "width": 768, "depth": 12, "heads": 12},
        "CrossDiT-L/2": {"patch": 2, "width": 1024, "depth": 24, "heads": 16},
        "CrossDiT-L/4": {"patch": 4, "width": 1024, "depth": 24, "heads": 16},
        "CrossDiT-L/8": {"patch": 8, "width": 1024, "depth": 24, "heads": 16},
        "CrossDiT-XL/2": {"patch": 2, "width": 1152, "depth": 28, "heads": 16},
        "CrossDiT-XL/4": {"patch": 4, "width": 1152, "depth": 28, "heads": 16},
        "CrossDiT-XL/8": {"patch": 8, "width": 1152, "depth": 28, "heads": 16},
    }
    rules: Rules = (
        ("t_block.1.*", zeros),
        ("*.scale_shift_table", zeros),
        ("*.cross_attn.proj.*", zeros),
        *ADALN_ZERO,
    )

    def __init__(
        self,
        spec: Spec,
        *,
        step: bool = False,
        patch: int = 4,
        width: int = 84,
        depth: int = 4,
        heads: int = 3,
        mlp_ratio: float = 4.0,
        shared_adaln: bool = False,
        time_scale: float = 1000.0,
    ) -> None:
        super().__init__(spec, step=step)
        size: dict[str, Any] = {"width": width, "heads": heads, "mlp_ratio": mlp_ratio}
        check_sizes(family="CrossDiT", spec=spec, patch=patch, depth=depth, time_scale=time_scale, **size)
        dims, classes = len(spec.shape) - 1, spec.num_classes
        check_positions("CrossDiT", width, dims)
        self.patch, self.width, self.depth, self.heads = patch, width, depth, heads
        self.mlp_ratio, self.shared_adaln, self.time_scale = mlp_ratio, shared_adaln, time_scale
        self.x_embedder = PatchEmbed(channels=spec.shape[0], patch=patch, width=width, dims=dims)
        self.t_embedder = TimeEmbedding(width=width, scale=time_scale)
        self.y_embedder = LabelEmbedding(classes=classes, width=width) if classes else None
        self.pooled_embedder = PooledEmbedding(pooled=spec.pooled, width=width) if spec.pooled else None
        self.step_embedder = StepEmbedding(width=width, scale=time_scale) if step else None
        self.null_context = NullContext(*spec.context) if spec.context else None
        self.context_embedder = nn.Linear(spec.context[1], width) if spec.context else None
        self.label_context = None if spec.context else LabelTokens(classes=classes, width=width)
        self.t_block = modulation(width, 6) if shared_adaln else None
        self.blocks = nn.ModuleList([CrossDiTBlock(**size, shared=shared_adaln) for _ in range(depth)])
        self.final_layer = FinalLayer(width=width, outputs=patch_features(spec.shape, patch))

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse other channels and axes than the data's, and sides that are not whole patches."""
        check_sides(shape, self.spec, self.patch)

    def compute(self, z: Tensor, t: Tensor, condition: Complete, step: Tensor | None) -> Tensor:
        """Embed, pass through the blocks, lay the patches out again."""
        grid = grid_of(tuple(z.shape[1:]), self.patch)
        y = vector(
            t,
            condition,
            step,
            time=self.t_embedder,
            steps=self.step_embedder,
            label=self.y_embedder,
            pooled=self.pooled_embedder,
        )
        context, mask = self._context(z, condition)
        modulating = y if self.t_block is None else self.t_block(y)
        x = self.x_embedder(z)
        x = x + grid_positions(grid, self.width, device=x.device, dtype=x.dtype)
        for block in self.blocks:
            x = block(x, modulating, context, mask)
        return unpatchify(self.final_layer(x, y), grid, self.patch)

    def _context(self, z: Tensor, condition: Complete) -> tuple[Tensor, Tensor | None]:
        """Context tokens (B, L, D), and which of them (B, 1, 1, L) may be attended to, or None for all."""
        if self.label_context is not None:
            return self.label_context(condition, z), None
        assert self.null_context is not None
        assert self.context_embedder is not None
        context, mask = self.null_context(condition)
        return self.context_embedder(context), None if mask is None else mask[:, None, None]

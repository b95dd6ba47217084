"""DiT: a transformer on patches, conditioned by adaLN-Zero, in which text tokens stand beside the patches.

Peebles and Xie, "Scalable Diffusion Models with Transformers", 2022 (arXiv 2212.09748). Parameter names follow the
public checkpoints. Shapes: B batch, N patches, L context tokens, D width.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from backbones.base import Backbone, Complete, Spec
from backbones.checks import check_sides, check_sizes
from backbones.initialisation import ADALN_ZERO, Rules
from backbones.layers.attention import key_mask
from backbones.layers.block import AdaLNBlock
from backbones.layers.embedding import LabelEmbedding, PooledEmbedding, StepEmbedding, TimeEmbedding, vector
from backbones.layers.modulation import FinalLayer
from backbones.layers.null import NullContext
from backbones.layers.patching import PatchEmbed, grid_of, patch_features, unpatchify
from backbones.layers.positions import check_positions, grid_positions


class DiTBlock(AdaLNBlock):
    """Self-attention and feed-forward, each behind a modulated norm and a gate that starts at zero."""

    def forward(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens (B, N, D), vector (B, D) and key mask (B, 1, 1, N) to tokens (B, N, D)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulations(y)
        return self.feed(self.attend(x, shift1, scale1, gate1, mask), shift2, scale2, gate2)


class DiT(Backbone):
    """DiT (Peebles and Xie 2022): transformer on patches with adaLN-Zero; any condition.

    The vector y = time (+ pooled) (+ label) (+ step) modulates every block. Context tokens, through a linear layer,
    stand in front of the patches and pass through the same weights: the "DiT" that SD3 (Esser et al. 2024, §5.2.3)
    compares MM-DiT with. Position codes are fixed, and are the patches' alone, so that samples of any sides are taken.
    The published parameter counts include the N·D position codes, which are no parameters here; the published output
    also has a second half for a learned variance, which no objective here asks for: with ``learn_sigma`` its weights
    are there and left out.

    Args:
        spec: shape (C, L), (C, H, W) or (C, T, H, W) and what its condition has; filled in by the framework.
        step: whether the network is told the step size; filled in by the framework.
        patch: the side of a patch; divides every side of a sample.
        width: D, a multiple of heads and of 2·(number of axes).
        depth: number of blocks.
        heads: attention heads.
        mlp_ratio: hidden width of a block's MLP divided by D.
        time_scale, time_offset: t is embedded by the sine-cosine code of time_scale·t + time_offset. Public weights:
            1000·t − 1 for DDPM's step numbers from 0, 1 − t for SiT.
        frequency_shift: 1 for the code's frequencies in diffusers' DiT.
        mlp_norm_eps: ε of the layer norms before the MLPs: 1e-5 in diffusers' DiT.
        learn_sigma: whether the last layer has the published second half, which is not part of the output.

    Raises:
        ValueError: a size that does not fit.
    """

    takes: ClassVar[tuple[str, ...]] = ("label", "context", "pooled")
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "DiT-S/2": {"patch": 2, "width": 384, "depth": 12, "heads": 6},
        "DiT-S/4": {"patch": 4, "width": 384, "depth": 12, "heads": 6},
        "DiT-S/8": {"patch": 8, "width": 384, "depth": 12, "heads": 6},
        "DiT-B/2": {"patch": 2, "width": 768, "depth": 12, "heads": 12},
        "DiT-B/4": {"patch": 4, "width": 768, "depth": 12, "heads": 12},
        "DiT-B/8": {"patch": 8, "width": 768, "depth": 12, "heads": 12},
        "DiT-L/2": {"patch": 2, "width": 1024, "depth": 24, "heads": 16},
        "DiT-L/4": {"patch": 4, "width": 1024, "depth": 24, "heads": 16},
        "DiT-L/8": {"patch": 8, "width": 1024, "depth": 24, "heads": 16},
        "DiT-XL/2": {"patch": 2, "width": 1152, "depth": 28, "heads": 16},
        "DiT-XL/4": {"patch": 4, "width": 1152, "depth": 28, "heads": 16},
        "DiT-XL/8": {"patch": 8, "width": 1152, "depth": 28, "heads": 16},
    }
    rules: Rules = ADALN_ZERO

    def __init__(
        self,
        spec: Spec,
        *,
        step: bool = False,
        patch: int = 4,
        width: int = 96,
        depth: int = 4,
        heads: int = 3,
        mlp_ratio: float = 4.0,
        time_scale: float = 1000.0,
        time_offset: float = 0.0,
        frequency_shift: Literal[0, 1] = 0,
        mlp_norm_eps: float = 1e-6,
        learn_sigma: bool = False,
    ) -> None:
        super().__init__(spec, step=step)
        size: dict[str, Any] = {"width": width, "heads": heads, "mlp_ratio": mlp_ratio}
        check_sizes(family="DiT", spec=spec, patch=patch, depth=depth, time_scale=time_scale, **size)
        dims = len(spec.shape) - 1
        check_positions("DiT", width, dims)
        self.patch, self.width, self.depth, self.heads = patch, width, depth, heads
        self.mlp_ratio, self.time_scale, self.time_offset = mlp_ratio, time_scale, time_offset
        self.frequency_shift, self.mlp_norm_eps, self.learn_sigma = frequency_shift, mlp_norm_eps, learn_sigma
        self.x_embedder = PatchEmbed(channels=spec.shape[0], patch=patch, width=width, dims=dims)
        self.t_embedder = TimeEmbedding(
            width=width, scale=time_scale, offset=time_offset, frequency_shift=frequency_shift
        )
        self.y_embedder = LabelEmbedding(classes=spec.num_classes, width=width) if spec.num_classes else None
        self.pooled_embedder = PooledEmbedding(pooled=spec.pooled, width=width) if spec.pooled else None
        self.step_embedder = StepEmbedding(width=width, scale=time_scale) if step else None
        self.null_context = NullContext(*spec.context) if spec.context else None
        self.context_embedder = nn.Linear(spec.context[1], width) if spec.context else None
        self.blocks = nn.ModuleList([DiTBlock(**size, mlp_norm_eps=mlp_norm_eps) for _ in range(depth)])
        halves = 2 if learn_sigma else 1
        self.final_layer = FinalLayer(width=width, outputs=halves * patch_features(spec.shape, patch))

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
        x = self.x_embedder(z)
        x = x + grid_positions(grid, self.width, device=x.device, dtype=x.dtype)
        mask, patches = None, x.shape[1]
        if self.null_context is not None and self.context_embedder is not None:
            context, mask = self.null_context(condition)
            x, mask = torch.cat([self.context_embedder(context), x], dim=1), key_mask(mask, patches)
        for block in self.blocks:
            x = block(x, y, mask)
        out = unpatchify(self.final_layer(x[:, x.shape[1] - patches :], y), grid, self.patch)
        return out[:, : z.shape[1]] if self.learn_sigma else out

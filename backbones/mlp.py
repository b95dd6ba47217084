"""A small residual MLP, for points, action sequences and other small samples without neighbourhood.

Shapes: B batch, E elements of a sample, D width.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from backbones.base import Backbone, Complete, Spec
from backbones.checks import check_positive
from backbones.initialisation import ADALN_ZERO, Rules, zeros
from backbones.layers.embedding import LabelEmbedding, PooledEmbedding, StepEmbedding, TimeEmbedding, vector
from backbones.layers.modulation import modulation


class MLPBlock(nn.Module):
    """x + fc2(SiLU(fc1(x)·(1 + scale) + shift)), shift and scale being linear in the vector."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, width)
        self.act = nn.SiLU()
        self.fc2 = nn.Linear(width, width)
        self.adaLN_modulation = modulation(width, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Features and vector, each (B, D), to features (B, D)."""
        shift, scale = self.adaLN_modulation(y).chunk(2, dim=1)
        return x + self.fc2(self.act(torch.addcmul(shift, self.fc1(x), 1 + scale)))


class MLP(Backbone):
    """Residual MLP on the flattened sample, for points and policies; labels, a pooled vector or no condition.

    The vector y = time (+ pooled) (+ label) (+ step) shifts and scales every hidden layer. A policy's observation is
    the pooled vector, its actions (C, H) are the sample. There is no normalisation, so that a point's distance from
    the origin is not lost.

    Args:
        spec: any shape, number of classes, pooled width; filled in by the framework.
        step: whether the network is told the step size; filled in by the framework.
        width: D.
        depth: number of residual blocks.
        time_scale: what t is multiplied by before its sine-cosine code.

    Raises:
        ValueError: a size that does not fit, or data with context other than captions, of which the pooled vector
            is taken.
    """

    takes: ClassVar[tuple[str, ...]] = ("label", "pooled")
    rules: Rules = (("final_layer.*", zeros), *ADALN_ZERO)

    def __init__(
        self, spec: Spec, *, step: bool = False, width: int = 128, depth: int = 3, time_scale: float = 1000.0
    ) -> None:
        super().__init__(spec, step=step)
        check_positive(width=width, depth=depth, time_scale=time_scale)
        self.width, self.depth, self.time_scale = width, depth, time_scale
        elements = math.prod(spec.shape)
        self.x_embedder = nn.Linear(elements, width)
        self.t_embedder = TimeEmbedding(width=width, scale=time_scale)
        self.y_embedder = LabelEmbedding(classes=spec.num_classes, width=width) if spec.num_classes else None
        self.pooled_embedder = PooledEmbedding(pooled=spec.pooled, width=width) if spec.pooled else None
        self.step_embedder = StepEmbedding(width=width, scale=time_scale) if step else None
        self.blocks = nn.ModuleList([MLPBlock(width=width) for _ in range(depth)])
        self.final_layer = nn.Linear(width, elements)

    def compute(self, z: Tensor, t: Tensor, condition: Complete, step: Tensor | None) -> Tensor:
        """Flatten, pass through the blocks, give the sample its shape again."""
        y = vector(
            t, condition, step, time=self.t_embedder, steps=self.step_embedder, label=self.y_embedder,
            pooled=self.pooled_embedder,
        )  # fmt: skip
        x = self.x_embedder(z.flatten(1))
        for block in self.blocks:
            x = block(x, y)
        return self.final_layer(x).view_as(z)

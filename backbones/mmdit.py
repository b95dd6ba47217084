"""MM-DiT: text and image tokens with separate weights that attend jointly.

Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis" (SD3), 2024 (arXiv
2403.03206), §4 and Fig. 2. Parameter names follow the public checkpoints. Shapes: B batch, N tokens, L context tokens,
D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from backbones.base import Backbone, Complete, Spec
from backbones.checks import check_sides, check_sizes
from backbones.initialisation import ADALN_ZERO, Rules, ones
from backbones.layers.attention import Attention, attend, key_mask, parted
from backbones.layers.embedding import (
    LabelEmbedding,
    LabelTokens,
    PooledEmbedding,
    StepEmbedding,
    TimeEmbedding,
    vector,
)
from backbones.layers.feed_forward import FeedForward
from backbones.layers.modulation import FinalLayer, gated, modulate, modulation, norm
from backbones.layers.null import NullContext
from backbones.layers.patching import PatchEmbed, grid_of, patch_features, unpatchify
from backbones.layers.positions import Coordinates, check_positions, grid_positions
from backbones.spec import sections_of


class Stream(nn.Module):
    """One token stream's weights in a joint block: what comes before the attention, and what comes after.

    Args:
        last: a context stream of the last block, whose output nothing reads: no projection and no MLP.
        alone: whether the stream's tokens also attend to one another alone, in a second attention ``attn2`` of the
            same normed tokens, with a shift, a scale and a gate of its own (SD3.5-medium).
    """

    def __init__(
        self, *, width: int, heads: int, mlp_ratio: float, qk_norm: bool, last: bool = False, alone: bool = False
    ) -> None:
        super().__init__()
        self.last = last
        self.count = 2 if last else 9 if alone else 6
        self.norm1 = norm(width)
        self.attn = Attention(width=width, heads=heads, qk_norm=qk_norm, project=not last)
        self.attn2 = Attention(width=width, heads=heads, qk_norm=qk_norm) if alone else None
        self.adaLN_modulation = modulation(width, self.count)
        if not last:
            self.norm2 = norm(width)
            self.mlp = FeedForward(width=width, ratio=mlp_ratio)

    def before(self, x: Tensor, y: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, ...]]:
        """Tokens x (B, N, D) projected for the joint attention, in two pieces, and what :meth:`after` needs."""
        shift, scale, *rest = self.adaLN_modulation(y).chunk(self.count, dim=1)
        normed = self.norm1(x)
        if self.attn2 is not None:
            *rest, shift2, scale2, gate2 = rest
            rest += [gate2, self.attn2(modulate(normed, shift2, scale2))]
        return self.attn.project(modulate(normed, shift, scale)), tuple(rest)

    def after(self, x: Tensor, attended: Tensor, rest: tuple[Tensor, ...]) -> Tensor:
        """Add what was attended to, then the MLP, each through its gate; x itself where nothing reads the result."""
        if self.last:
            return x
        gate1, shift2, scale2, gate2, *alone = rest
        x = gated(x, gate1, self.attn.proj(attended))
        if alone:
            x = gated(x, *alone)
        return gated(x, gate2, self.mlp(modulate(self.norm2(x), shift2, scale2)))


class JointBlock(nn.Module):
    """Two or three streams of tokens, each with its own weights, in one attention: context first, the patches last.

    Args:
        sets: how many streams.
        last: whether nothing reads the contexts after this block.
        alone: whether the patches also attend to one another alone.
    """

    def __init__(
        self, *, width: int, heads: int, mlp_ratio: float, qk_norm: bool, sets: int, last: bool, alone: bool
    ) -> None:
        super().__init__()
        size: dict[str, Any] = {"width": width, "heads": heads, "mlp_ratio": mlp_ratio, "qk_norm": qk_norm}
        self.context_block = Stream(**size, last=last)
        self.second_context_block = Stream(**size, last=last) if sets == 3 else None
        self.x_block = Stream(**size, alone=alone)

    def forward(self, y: Tensor, mask: Tensor | None, *streams: Tensor) -> tuple[Tensor, ...]:
        """Vector (B, D), key mask (B, 1, 1, sum of N) and each stream's tokens (B, N, D) to each stream's tokens."""
        weights = [w for w in (self.context_block, self.second_context_block, self.x_block) if w is not None]
        before = [w.before(x, y) for w, x in zip(weights, streams, strict=True)]
        qk, v = (torch.cat(pieces, dim=1) for pieces in zip(*(projected for projected, _ in before), strict=True))
        together = parted(qk, v, _scales(weights, streams))
        attended = attend(*together, mask).split([x.shape[1] for x in streams], dim=1)
        each = zip(weights, streams, attended, before, strict=True)
        return tuple(w.after(x, a, rest) for w, x, a, (_, rest) in each)


def _scales(weights: Sequence[Stream], streams: Sequence[Tensor]) -> Tensor | None:
    """The scales (sum of N, 2, 1, k) of all tokens' queries and keys, each stream's its own; None without QK-norm."""
    own = [weight.attn.scales() for weight in weights]
    each = [one.expand(x.shape[1], -1, -1, -1) for one, x in zip(own, streams, strict=True) if one is not None]
    return torch.cat(each) if each else None


class MMDiT(Backbone):
    """MM-DiT (SD3, Esser et al. 2024): context and image tokens with separate weights, one attention; any condition.

    The vector y = time (+ pooled) (+ label) (+ step) modulates all streams. Data without a context still have a
    context stream: a table turns the label (or its absence) into 4 tokens. A dropped row has a learned null row in
    place of each context token, all of them attended to, and of the pooled vector; these start at zero, which is
    SD3's null, and come on top of the published count D²(36d − 9) + D(30d + 6526) + 64. Samples of any sides are taken.

    Where the context has two sections (the tokens of two text encoders), ``sets=3`` gives each weights of its own, the
    linear layer in front included (SD3 §5.2.3). SD3.5-medium is ``MMDiT-d24`` with ``qk_norm`` and ``self_attention``
    in blocks 0 to 12; what those do is described at :class:`Stream`.

    Args:
        spec: shape and what its condition has; filled in by the framework.
        step: whether the network is told the step size; filled in by the framework.
        patch: the side of a patch; divides every side of a sample.
        width: D, a multiple of heads and of 2·(number of axes); in the paper's models 64·depth.
        depth: number of joint blocks.
        heads: attention heads; in the paper's models = depth.
        mlp_ratio: hidden width of a block's MLPs divided by D.
        qk_norm: RMS-normalise queries and keys in all streams (the paper's §5.3.2, for bf16 at high resolution).
        time_scale: what t is multiplied by before its sine-cosine code.
        sets: 2 for one set of weights for all context tokens and one for the patches; 3 for two of the former.
        self_attention: the blocks, counted from 0, in which the patches also attend to one another alone.
        max_size: M, the places along each axis of a position table of which a sample takes the middle; 0 for none.
        position_scale: the distance of two patches in the position codes.
        position_offset: the place, of the table or from the first patch, whose coordinate is 0.
        learned_null: whether null rows are parameters; if not they are 0, and all parameters are published ones.

    Raises:
        ValueError: a size that does not fit, blocks that there are not, or ``sets=3`` for a context of one section.
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
    rules: Rules = (("*.ln_[qk].weight", ones), *ADALN_ZERO)

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
        sets: Literal[2, 3] = 2,
        self_attention: tuple[int, ...] = (),
        max_size: int = 0,
        position_scale: float = 1.0,
        position_offset: float = 0.0,
        learned_null: bool = True,
    ) -> None:
        super().__init__(spec, step=step)
        size: dict[str, Any] = {"width": width, "heads": heads, "mlp_ratio": mlp_ratio}
        check_sizes(family="MM-DiT", spec=spec, patch=patch, depth=depth, time_scale=time_scale, **size)
        dims = len(spec.shape) - 1
        check_positions("MM-DiT", width, dims)
        self.patch, self.width, self.depth, self.heads = patch, width, depth, heads
        self.mlp_ratio, self.qk_norm, self.time_scale = mlp_ratio, qk_norm, time_scale
        self.sets, self.self_attention, self.learned_null = sets, tuple(self_attention), learned_null
        self.max_size, self.position_scale, self.position_offset = max_size, position_scale, position_offset
        self._coordinates = Coordinates(max_size, position_scale, position_offset)
        self._check_blocks()
        self.check_shape(tuple(spec.shape))
        self.x_embedder = PatchEmbed(channels=spec.shape[0], patch=patch, width=width, dims=dims)
        self.t_embedder = TimeEmbedding(width=width, scale=time_scale)
        self.step_embedder = StepEmbedding(width=width, scale=time_scale) if step else None
        self._build_condition()
        self.joint_blocks = nn.ModuleList(
            JointBlock(**size, qk_norm=qk_norm, sets=sets, last=i == depth - 1, alone=i in self.self_attention)
            for i in range(depth)
        )
        self.final_layer = FinalLayer(width=width, outputs=patch_features(spec.shape, patch))

    def _check_blocks(self) -> None:
        sections = sections_of(self.spec)
        if self.sets not in (2, 3):
            raise ValueError(f"sets={self.sets}; allowed: 2, 3")
        if self.sets == 3 and len(sections) != 2:
            has = f"a context of {len(sections)} section{'s' * (len(sections) != 1)}" if sections else "no context"
            raise ValueError(
                f"sets=3 is for a context of two sections, the tokens of two text encoders; this data has {has}"
            )
        foreign = [str(i) for i in self.self_attention if not 0 <= i < self.depth]
        if foreign:
            raise ValueError(f"self_attention has block {', '.join(foreign)}; there are 0 to {self.depth - 1}")

    def _build_condition(self) -> None:
        spec, width, learned = self.spec, self.width, self.learned_null
        classes, context = spec.num_classes, spec.context
        self.y_embedder = (
            PooledEmbedding(pooled=spec.pooled, width=width, learned_null=learned) if spec.pooled else None
        )
        self.label_embedder = LabelEmbedding(classes=classes, width=width) if classes else None
        self.label_context = None if context else LabelTokens(classes=classes, width=width)
        self.null_context = NullContext(*context, learned=learned) if context else None
        self.context_embedder = nn.Linear(context[1], width) if context else None
        self.second_context_embedder = nn.Linear(context[1], width) if context and self.sets == 3 else None

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse other channels and axes than the data's, sides that are not whole patches, and too many of these."""
        check_sides(shape, self.spec, self.patch)
        grid = grid_of(shape, self.patch)
        if 0 < self.max_size < max(grid):
            raise ValueError(f"a sample of {'×'.join(map(str, grid))} patches; max_size={self.max_size} along an axis")

    def compute(self, z: Tensor, t: Tensor, condition: Complete, step: Tensor | None) -> Tensor:
        """Embed, pass all streams through the blocks, lay the image's patches out again."""
        grid = grid_of(tuple(z.shape[1:]), self.patch)
        y = vector(
            t,
            condition,
            step,
            time=self.t_embedder,
            steps=self.step_embedder,
            label=self.label_embedder,
            pooled=self.y_embedder,
        )
        streams, mask = self._contexts(z, condition)
        x = self.x_embedder(z)
        x = x + grid_positions(grid, self.width, device=x.device, dtype=x.dtype, coordinates=self._coordinates)
        mask = key_mask(mask, x.shape[1])
        streams = (*streams, x)
        for block in self.joint_blocks:
            streams = block(y, mask, *streams)
        return unpatchify(self.final_layer(streams[-1], y), grid, self.patch)

    def _contexts(self, z: Tensor, condition: Complete) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """The tokens (B, L, D) of each context stream, and which of all (B, sum of L) may be attended to, or None."""
        if self.label_context is not None:
            return (self.label_context(condition, z),), None
        assert self.null_context is not None
        assert self.context_embedder is not None
        context, mask = self.null_context(condition)
        if self.second_context_embedder is None:
            return (self.context_embedder(context),), mask
        first = sections_of(self.spec)[0]
        return (self.context_embedder(context[:, :first]), self.second_context_embedder(context[:, first:])), mask

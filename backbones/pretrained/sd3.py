"""Stability AI's SD3 and SD3.5 (mmdit), whose names the MM-DiT here has; beside them is its table of positions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from backbones.base import Backbone
from backbones.mmdit import MMDiT
from backbones.pretrained.base import Found, Layout, State, count, heads, need
from backbones.pretrained.grids import coordinates, square_table

CONTEXT = 154
"""Tokens of SD3's context as its reference code feeds them: 77 of CLIP and 77 of T5."""


class SD3(Layout):
    """SD3, SD3.5: a velocity told 1000·t, conditioned on context tokens and a pooled vector.

    Where queries and keys are normalised, the scale's length tells the heads, else depth d = heads. The table of
    positions is M×M and cropped to the image; its coordinates are read off its fastest code. The null of both
    conditions is zero. The shape is SD3's 1024² images (latents 16×128×128), or what the table's base tells.
    Source: Esser et al. 2024; sd3-ref's `mmdit.py`, sd3.5's `mmditx.py`.
    """

    name: ClassVar[str] = "sd3"
    family: ClassVar[str] = "MMDiT"
    code: ClassVar[str] = "Stability AI's sd3.5"
    prefix: ClassVar[str] = "model.diffusion_model."
    foreign: ClassVar[tuple[str, ...]] = ("first_stage_model.", "text_encoders.", "model_sampling.")
    shared: ClassVar[tuple[str, ...]] = (
        "x_embedder.*", "t_embedder.*", "y_embedder.mlp.*", "context_embedder.*", "joint_blocks.*.context_block.*",
        "joint_blocks.*.x_block.*", "final_layer.*",
    )  # fmt: skip

    def read(self, theirs: State, config: Mapping[str, Any] | None = None) -> Found:
        embedders = ("x_embedder.proj.weight", "pos_embed", "context_embedder.weight", "y_embedder.mlp.0.weight")
        need(theirs, *embedders, of=self.code)
        width, channels, patch, _ = theirs["x_embedder.proj.weight"].shape
        stem = "joint_blocks."
        depth = count(theirs, stem)
        scale, fc1 = theirs.get(f"{stem}0.x_block.attn.ln_q.weight"), theirs.get(f"{stem}0.x_block.mlp.fc1.weight")
        known = dict(config or {}) if scale is None else {"num_attention_heads": width // scale.shape[0]}
        told, guessed, asked = heads(width, known)
        side, position_scale, offset = coordinates(theirs["pos_embed"])
        options = {
            "patch": patch, "width": width, "depth": depth, **told,
            "mlp_ratio": 4.0 if fc1 is None else fc1.shape[0] / width, "qk_norm": scale is not None,
            "self_attention": tuple(i for i in range(depth) if f"{stem}{i}.x_block.attn2.qkv.weight" in theirs),
            "max_size": side, "position_scale": position_scale, "position_offset": offset, "learned_null": False,
        }  # fmt: skip
        base = max(1, round(side * position_scale)) * patch
        context = (CONTEXT, theirs["context_embedder.weight"].shape[1])
        guessed |= {"context": f"{CONTEXT} tokens", "shape": f"sides of {base}, the base of the table of positions"}
        pooled = theirs["y_embedder.mlp.0.weight"].shape[1]
        return Found(options, (channels, base, base), context=context, pooled=pooled, guessed=guessed, asked=asked)

    def tables(self, network: Backbone) -> dict[str, Tensor]:
        assert isinstance(network, MMDiT)
        return {"pos_embed": positions(network)}

    def misfits(self, network: Backbone) -> list[str]:
        assert isinstance(network, MMDiT)
        reasons, depth = misfits(network, self.code), network.depth
        if (network.width, network.heads) != (64 * depth, depth):
            own = f"width={network.width}, heads={network.heads} at depth={depth}"
            reasons.append(f"{own}; {self.code} reads the depth off the width, 64·depth, and has as many heads")
        return reasons


def positions(network: MMDiT) -> Tensor:
    """The M×M table that the network's positions are cropped from; its own grid where it crops none."""
    side = network.max_size or network.spec.shape[-1] // network.patch
    return square_table(side, network.width, scale=network.position_scale, offset=network.position_offset)


def misfits(network: MMDiT, code: str) -> list[str]:
    """Why the public code would compute something else than ``network``."""
    spec, reasons = network.spec, []
    if len(spec.shape) != 3:
        reasons.append(f"data of shape {tuple(spec.shape)}; {code} takes images (C, H, W)")
    if spec.context is None or not spec.pooled:
        reasons.append(f"data without context tokens or without a pooled vector; {code} takes both")
    if not math.isclose(network.time_scale, 1000):
        reasons.append(f"time_scale={network.time_scale:g}: {code} has 1000")
    if network.mlp_ratio != 4:
        reasons.append(f"mlp_ratio={network.mlp_ratio:g}: {code} has 4")
    if not network.max_size and spec.shape[-1] != spec.shape[-2]:
        reasons.append(f"positions of a grid {spec.shape[-2]}×{spec.shape[-1]}; {code} crops them from a square table")
    return reasons

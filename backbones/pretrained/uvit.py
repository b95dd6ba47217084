"""baofff/U-ViT, whose names the U-ViT here has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from backbones.base import Backbone
from backbones.pretrained.base import Found, Layout, LayoutError, State, count, heads, need, square
from backbones.uvit import UViT

CONTEXT = 77
"""Tokens of a caption."""


class PublicUViT(Layout):
    """baofff/U-ViT: a noise prediction told the step n = 1 … 1000 of latent diffusion's schedule.

    With labels, the last row of whose table is the null label; with captions, 77 tokens of CLIP, whose null is 0 here
    (the public code gives the empty caption's tokens); or neither. Public models with `mlp_time_embed` have parameters
    that the U-ViT here has not. Source: Bao et al. 2022; its `libs/uvit.py` and `libs/uvit_t2i.py`.
    """

    name: ClassVar[str] = "uvit"
    family: ClassVar[str] = "U-ViT"
    code: ClassVar[str] = "baofff/U-ViT"
    shared: ClassVar[tuple[str, ...]] = (
        "pos_embed", "patch_embed.*", "label_emb.*", "context_embed.*", "in_blocks.*", "mid_block.*", "out_blocks.*",
        "norm.*", "decoder_pred.*", "final_layer.*",
    )  # fmt: skip

    def read(self, theirs: State, config: Mapping[str, Any] | None = None) -> Found:
        need(theirs, "patch_embed.proj.weight", "pos_embed", "decoder_pred.weight", of=self.code)
        if any(name.startswith("time_embed.") for name in theirs):
            raise LayoutError(["time_embed.* has no place: the U-ViT here has no layers behind its code of the time"])
        width, channels, patch, _ = theirs["patch_embed.proj.weight"].shape
        table, fc1 = theirs.get("label_emb.weight"), theirs.get("in_blocks.0.mlp.fc1.weight")
        captions = theirs.get("context_embed.weight")
        context = None if captions is None else (CONTEXT, captions.shape[1])
        before = 1 + (table is not None) + (CONTEXT if context else 0)
        tokens = theirs["pos_embed"].shape[1] - before
        sides = square(tokens, patch)
        if sides is None:
            raise LayoutError([f"pos_embed has {tokens} patches, which make no square image"])
        told, guessed, asked = heads(width, config or {})
        options = {
            "patch": patch, "width": width, "depth": 2 * count(theirs, "in_blocks."), **told,
            "mlp_ratio": 4.0 if fc1 is None else fc1.shape[0] / width, "conv": "final_layer.weight" in theirs,
        }  # fmt: skip
        if context is not None:
            options["learned_null"] = False
            guessed = {**guessed, "context": f"{CONTEXT} tokens, as the published models have"}
        classes = 0 if table is None else table.shape[0] - 1
        return Found(options, (channels, *sides), num_classes=classes, context=context, guessed=guessed, asked=asked)

    def misfits(self, network: Backbone) -> list[str]:
        assert isinstance(network, UViT)
        scale = network.time_scale
        return [] if scale == 1000 else [f"time_scale={scale:g}: {self.code} has 1000"]

"""baofff/U-ViT, whose names the U-ViT here has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from backbones.base import Backbone
from backbones.pretrained.base import Found, Layout, LayoutError, State, count, heads, need, square
from backbones.uvit import UViT


class PublicUViT(Layout):
    """baofff/U-ViT: a noise prediction told the step n = 1 … 1000 of latent diffusion's schedule.

    Class-conditional or unconditional; the public models with `mlp_time_embed` or captions have parameters that the
    U-ViT here has not. The last row of the label table is the null label. Source: Bao et al. 2022; its `libs/uvit.py`.
    """

    name: ClassVar[str] = "uvit"
    family: ClassVar[str] = "U-ViT"
    code: ClassVar[str] = "baofff/U-ViT"
    shared: ClassVar[tuple[str, ...]] = (
        "pos_embed", "patch_embed.*", "label_emb.*", "in_blocks.*", "mid_block.*", "out_blocks.*", "norm.*",
        "decoder_pred.*", "final_layer.*",
    )  # fmt: skip

    def read(self, theirs: State, config: Mapping[str, Any] | None = None) -> Found:
        need(theirs, "patch_embed.proj.weight", "pos_embed", "decoder_pred.weight", of=self.code)
        foreign = sorted({name.split(".")[0] for name in theirs} & {"time_embed", "context_embed"})
        if foreign:
            raise LayoutError([f"{name}.* has no place: the U-ViT here has no such layer" for name in foreign])
        width, channels, patch, _ = theirs["patch_embed.proj.weight"].shape
        table, fc1 = theirs.get("label_emb.weight"), theirs.get("in_blocks.0.mlp.fc1.weight")
        tokens = theirs["pos_embed"].shape[1] - (1 if table is None else 2)
        sides = square(tokens, patch)
        if sides is None:
            raise LayoutError([f"pos_embed has {tokens} patches, which make no square image"])
        told, guessed, asked = heads(width, config or {})
        options = {
            "patch": patch, "width": width, "depth": 2 * count(theirs, "in_blocks."), **told,
            "mlp_ratio": 4.0 if fc1 is None else fc1.shape[0] / width, "conv": "final_layer.weight" in theirs,
        }  # fmt: skip
        classes = 0 if table is None else table.shape[0] - 1
        return Found(options, (channels, *sides), num_classes=classes, guessed=guessed, asked=asked)

    def misfits(self, network: Backbone) -> list[str]:
        assert isinstance(network, UViT)
        scale = network.time_scale
        return [] if scale == 1000 else [f"time_scale={scale:g}: {self.code} has 1000"]

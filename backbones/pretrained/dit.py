"""facebookresearch/DiT, whose names the DiT here has; beside them its fixed position codes are in the file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from backbones.base import Backbone
from backbones.dit import DiT
from backbones.pretrained.base import Found, Layout, LayoutError, State, count, heads, need, square
from backbones.pretrained.grids import square_table


class PublicDiT(Layout):
    """facebookresearch/DiT: a noise prediction with a learned variance beside it, told DDPM's steps 0 … 999.

    Source: Peebles and Xie 2022; its `models.py`. No shape tells the number of heads; the position codes tell the sides
    of the latents. The last row of the label table is the null label.
    """

    name: ClassVar[str] = "dit"
    family: ClassVar[str] = "DiT"
    code: ClassVar[str] = "facebookresearch/DiT"
    shared: ClassVar[tuple[str, ...]] = ("x_embedder.*", "t_embedder.*", "y_embedder.*", "blocks.*", "final_layer.*")
    time: ClassVar[tuple[float, float]] = (1000.0, -1.0)
    """What the network is told at path time t: scale·t + offset."""

    def read(self, theirs: State, config: Mapping[str, Any] | None = None) -> Found:
        need(theirs, "x_embedder.proj.weight", "pos_embed", "final_layer.linear.weight", of=self.code)
        width, channels, patch, _ = theirs["x_embedder.proj.weight"].shape
        sides = square(theirs["pos_embed"].shape[1], patch)
        if sides is None:
            raise LayoutError([f"pos_embed has {theirs['pos_embed'].shape[1]} cells, which make no square image"])
        told, guessed, asked = heads(width, config or {})
        fc1, table = theirs.get("blocks.0.mlp.fc1.weight"), theirs.get("y_embedder.embedding_table.weight")
        options = {
            "patch": patch, "width": width, "depth": count(theirs, "blocks."), **told,
            "mlp_ratio": 4.0 if fc1 is None else fc1.shape[0] / width,
            "time_scale": self.time[0], "time_offset": self.time[1],
            "learn_sigma": theirs["final_layer.linear.weight"].shape[0] == 2 * channels * patch**2,
        }  # fmt: skip
        classes = 0 if table is None else table.shape[0] - 1
        return Found(options, (channels, *sides), num_classes=classes, guessed=guessed, asked=asked)

    def tables(self, network: Backbone) -> dict[str, Tensor]:
        assert isinstance(network, DiT)
        side = network.spec.shape[-1] // network.patch
        return {"pos_embed": square_table(side, network.width)}

    def misfits(self, network: Backbone) -> list[str]:
        assert isinstance(network, DiT)
        reasons = [*square_only(network), *embedding(network, self.code, self.time[0], 0)]
        if network.mlp_norm_eps != 1e-6:
            reasons.append(f"mlp_norm_eps={network.mlp_norm_eps:g}: {self.code} has 1e-06")
        return reasons


def square_only(network: DiT) -> list[str]:
    """Why data of another shape than (C, S, S) have no place in public code."""
    shape = tuple(network.spec.shape)
    square = len(shape) == 3 and shape[1] == shape[2]
    return [] if square else [f"data of shape {shape}; the public code takes square images (C, S, S)"]


def embedding(network: DiT, code: str, scale: float, shift: int) -> list[str]:
    """Why times are embedded otherwise than ``code`` does, which is fed scale·t + any offset."""
    reasons = []
    if not math.isclose(network.time_scale, scale):
        reasons.append(f"time_scale={network.time_scale:g}: {code} has {scale:g}")
    if network.frequency_shift != shift:
        reasons.append(
            f"frequency_shift={network.frequency_shift}: {code} embeds times with {shift}, and its outputs would differ"
        )
    return reasons

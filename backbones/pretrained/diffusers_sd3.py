"""diffusers' SD3Transformer2DModel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from backbones.base import Backbone
from backbones.mmdit import MMDiT
from backbones.pretrained.base import Found, Layout, State, count, need
from backbones.pretrained.rows import Row, pairs
from backbones.pretrained.sd3 import SD3, misfits, positions

STEM = "transformer_blocks"
READ = {
    "pos_embed.proj.weight": "x_embedder.proj.weight",
    "pos_embed.pos_embed": "pos_embed",
    "context_embedder.weight": "context_embedder.weight",
    "time_text_embed.text_embedder.linear_1.weight": "y_embedder.mlp.0.weight",
}
"""What sizes are read from, and its name in SD3's own layout."""


class DiffusersSD3(Layout):
    """diffusers' SD3Transformer2DModel: SD3 with q, k and v apart, and scale before shift where nothing follows a norm.

    The swapped halves are those of the last layer's norm and of the last block's context. Source: diffusers'
    `transformer_sd3.py`, and its script that converts SD3.
    """

    name: ClassVar[str] = "diffusers-sd3"
    family: ClassVar[str] = "MMDiT"
    code: ClassVar[str] = "diffusers' SD3Transformer2DModel"

    def read(self, theirs: State, config: Mapping[str, Any] | None = None) -> Found:
        told = dict(config or {})
        need(theirs, *READ, of=self.code)
        seen = {ours: theirs[name] for name, ours in READ.items()}
        for i in range(count(theirs, f"{STEM}.")):
            block, ours = f"{STEM}.{i}", f"joint_blocks.{i}.x_block"
            known = {
                f"{block}.attn.norm_q.weight": f"{ours}.attn.ln_q.weight",
                f"{block}.attn2.to_q.weight": f"{ours}.attn2.qkv.weight",
                f"{block}.ff.net.0.proj.weight": f"{ours}.mlp.fc1.weight",
                f"{block}.norm1.linear.weight": f"{ours}.adaLN_modulation.1.weight",
            }
            seen |= {mine: theirs[name] for name, mine in known.items() if name in theirs}
        found = SD3().read(seen, told)
        side = told.get("sample_size")
        if not isinstance(side, int):
            return found
        guessed = {name: why for name, why in found.guessed.items() if name != "shape"}
        return replace(found, shape=(found.shape[0], side, side), guessed=guessed)

    def rows(self, network: Backbone) -> list[Row]:
        assert isinstance(network, MMDiT)
        rows = [*pairs("x_embedder.proj", "pos_embed.proj"), *pairs("context_embedder", "context_embedder")]
        for ours, theirs in (("t_embedder", "timestep_embedder"), ("y_embedder", "text_embedder")):
            for number, layer in ((0, "linear_1"), (2, "linear_2")):
                rows += pairs(f"{ours}.mlp.{number}", f"time_text_embed.{theirs}.{layer}")
        for i in range(network.depth):
            rows += _block(network, i)
        rows += pairs("final_layer.adaLN_modulation.1", "norm_out.linear", form="swapped")
        return rows + pairs("final_layer.linear", "proj_out")

    def tables(self, network: Backbone) -> dict[str, Tensor]:
        assert isinstance(network, MMDiT)
        return {"pos_embed.pos_embed": positions(network)}

    def misfits(self, network: Backbone) -> list[str]:
        assert isinstance(network, MMDiT)
        shape, base, offset = network.spec.shape, _base(network), network.position_offset
        reasons = misfits(network, self.code)
        if offset or abs(base - round(base)) > 1e-6:
            told = f"position_scale={network.position_scale:g}, position_offset={offset:g}"
            reasons.append(f"{told}: {self.code} has a table whose base is a whole number of patches")
        elif shape[-1] != shape[-2]:
            reasons.append(f"data of shape {tuple(shape)}; {self.code} is configured for square images")
        return reasons

    def config(self, network: Backbone) -> dict[str, Any]:
        assert isinstance(network, MMDiT)
        channels, context = network.spec.shape[0], network.spec.context
        assert context is not None
        return {
            "_class_name": "SD3Transformer2DModel", "attention_head_dim": network.width // network.heads,
            "caption_projection_dim": network.width, "dual_attention_layers": list(network.self_attention),
            "in_channels": channels, "joint_attention_dim": context[1], "num_attention_heads": network.heads,
            "num_layers": network.depth, "out_channels": channels, "patch_size": network.patch,
            "pooled_projection_dim": network.spec.pooled, "qk_norm": "rms_norm" if network.qk_norm else None,
            "pos_embed_max_size": network.max_size or network.spec.shape[-1] // network.patch,
            "sample_size": round(_base(network)) * network.patch,
        }  # fmt: skip


def _base(network: MMDiT) -> float:
    """The number of patches over which diffusers' coordinates run from 0 on with distance 1 at its sample size."""
    side = network.max_size or network.spec.shape[-1] // network.patch
    return side * network.position_scale


def _block(network: MMDiT, i: int) -> list[Row]:
    """The rows of a joint block; of the last one's context all but keys, values and their norm is left out."""
    ours, theirs, last = f"joint_blocks.{i}", f"{STEM}.{i}", i == network.depth - 1
    x, context, attn = f"{ours}.x_block", f"{ours}.context_block", f"{theirs}.attn"
    rows = pairs(f"{x}.attn.qkv", *(f"{attn}.to_{part}" for part in "qkv"), form="stacked")
    rows += pairs(f"{context}.attn.qkv", *(f"{attn}.add_{part}_proj" for part in "qkv"), form="stacked")
    rows += pairs(f"{x}.attn.proj", f"{attn}.to_out.0")
    rows += pairs(f"{x}.adaLN_modulation.1", f"{theirs}.norm1.linear")
    swapped = "swapped" if last else "same"
    rows += pairs(f"{context}.adaLN_modulation.1", f"{theirs}.norm1_context.linear", form=swapped)
    rows += pairs(f"{x}.mlp.fc1", f"{theirs}.ff.net.0.proj") + pairs(f"{x}.mlp.fc2", f"{theirs}.ff.net.2")
    if not last:
        rows += pairs(f"{context}.attn.proj", f"{attn}.to_add_out")
        rows += pairs(f"{context}.mlp.fc1", f"{theirs}.ff_context.net.0.proj")
        rows += pairs(f"{context}.mlp.fc2", f"{theirs}.ff_context.net.2")
    alone = i in network.self_attention
    if alone:
        rows += pairs(f"{x}.attn2.qkv", *(f"{theirs}.attn2.to_{part}" for part in "qkv"), form="stacked")
        rows += pairs(f"{x}.attn2.proj", f"{theirs}.attn2.to_out.0")
    if network.qk_norm:
        for part in "qk":
            rows.append(Row(f"{x}.attn.ln_{part}.weight", (f"{attn}.norm_{part}.weight",)))
            rows.append(Row(f"{context}.attn.ln_{part}.weight", (f"{attn}.norm_added_{part}.weight",)))
            if alone:
                rows.append(Row(f"{x}.attn2.ln_{part}.weight", (f"{theirs}.attn2.norm_{part}.weight",)))
    return rows

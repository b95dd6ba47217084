"""diffusers' DiTTransformer2DModel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from backbones.base import Backbone
from backbones.dit import DiT
from backbones.pretrained.base import Found, Layout, LayoutError, State, count, heads, need
from backbones.pretrained.dit import embedding, square_only
from backbones.pretrained.rows import Row, pairs

STEM = "transformer_blocks"
SAMPLE = 32
"""The sides of the published models' latents, where no config.json tells them."""


class DiffusersDiT(Layout):
    """diffusers' DiTTransformer2DModel: DiT with a copy of the time and label embedding in every block.

    Its time code has other frequencies than DiT's (they fall to exactly 10⁻⁴), and the norms before the MLPs another ε:
    what is read computes what diffusers computes. Weights that were trained by DiT's own code and only converted want
    frequency_shift=0, mlp_norm_eps=1e-6, since they were trained so.
    Source: diffusers' `dit_transformer_2d.py`.
    """

    name: ClassVar[str] = "diffusers-dit"
    family: ClassVar[str] = "DiT"
    code: ClassVar[str] = "diffusers' DiTTransformer2DModel"

    def read(self, theirs: State, config: Mapping[str, Any] | None = None) -> Found:
        need(theirs, "pos_embed.proj.weight", "proj_out_2.weight", of=self.code)
        told = dict(config or {})
        _refuse_others(told)
        width, channels, patch, _ = theirs["pos_embed.proj.weight"].shape
        options, guessed, asked = heads(width, told)
        table = theirs.get(f"{STEM}.0.norm1.emb.class_embedder.embedding_table.weight")
        side = told.get("sample_size", SAMPLE)
        if "sample_size" not in told:
            guessed["shape"] = f"sides of {SAMPLE}, as the published models have"
        options |= {
            "patch": patch, "width": width, "depth": count(theirs, f"{STEM}."), "mlp_ratio": 4.0,
            "time_scale": 1000.0, "time_offset": -1.0, "frequency_shift": 1,
            "mlp_norm_eps": float(told.get("norm_eps", 1e-5)),
            "learn_sigma": theirs["proj_out_2.weight"].shape[0] == 2 * channels * patch**2,
        }  # fmt: skip
        classes = 0 if table is None else table.shape[0] - 1
        return Found(options, (channels, side, side), num_classes=classes, guessed=guessed, asked=asked)

    def rows(self, network: Backbone) -> list[Row]:
        assert isinstance(network, DiT)
        norms = [f"{STEM}.{i}.norm1" for i in range(network.depth)]
        labels = tuple(f"{norm}.emb.class_embedder.embedding_table.weight" for norm in norms)
        rows = pairs("x_embedder.proj", "pos_embed.proj")
        for number, layer in ((0, "linear_1"), (2, "linear_2")):
            copies = (f"{norm}.emb.timestep_embedder.{layer}" for norm in norms)
            rows += pairs(f"t_embedder.mlp.{number}", *copies, form="copies")
        if network.spec.num_classes:
            rows.append(Row("y_embedder.embedding_table.weight", labels, "copies"))
        for i, norm in enumerate(norms):
            ours, block = f"blocks.{i}", f"{STEM}.{i}"
            rows += pairs(f"{ours}.adaLN_modulation.1", f"{norm}.linear")
            rows += pairs(f"{ours}.attn.qkv", *(f"{block}.attn1.to_{part}" for part in "qkv"), form="stacked")
            rows += pairs(f"{ours}.attn.proj", f"{block}.attn1.to_out.0")
            rows += pairs(f"{ours}.mlp.fc1", f"{block}.ff.net.0.proj")
            rows += pairs(f"{ours}.mlp.fc2", f"{block}.ff.net.2")
        rows += pairs("final_layer.adaLN_modulation.1", "proj_out_1")
        return rows + pairs("final_layer.linear", "proj_out_2")

    def misfits(self, network: Backbone) -> list[str]:
        assert isinstance(network, DiT)
        reasons = [*square_only(network), *embedding(network, self.code, 1000.0, 1)]
        if not network.spec.num_classes:
            reasons.append(f"data without labels; {self.code} takes them")
        if network.mlp_ratio != 4:
            reasons.append(f"mlp_ratio={network.mlp_ratio:g}: {self.code} has 4")
        return reasons

    def config(self, network: Backbone) -> dict[str, Any]:
        assert isinstance(network, DiT)
        channels, side = network.spec.shape[0], network.spec.shape[-1]
        return {
            "_class_name": "DiTTransformer2DModel", "activation_fn": "gelu-approximate", "attention_bias": True,
            "attention_head_dim": network.width // network.heads, "dropout": 0.0, "in_channels": channels,
            "norm_elementwise_affine": False, "norm_eps": network.mlp_norm_eps, "norm_num_groups": 32,
            "norm_type": "ada_norm_zero", "num_attention_heads": network.heads,
            "num_embeds_ada_norm": network.spec.num_classes, "num_layers": network.depth,
            "out_channels": channels * (2 if network.learn_sigma else 1), "patch_size": network.patch,
            "sample_size": side, "upcast_attention": False,
        }  # fmt: skip


def _refuse_others(config: Mapping[str, Any]) -> None:
    """Raise a :class:`LayoutError` for settings of diffusers' class that the DiT here has not."""
    only = {
        "activation_fn": "gelu-approximate", "attention_bias": True, "norm_elementwise_affine": False,
        "norm_type": "ada_norm_zero",
    }  # fmt: skip
    reasons = [
        f"config.json says {name}={config[name]!r}; the DiT here has {value!r}"
        for name, value in only.items()
        if config.get(name, value) != value
    ]
    if reasons:
        raise LayoutError(reasons)

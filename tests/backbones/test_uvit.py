"""U-ViT: published sizes, and its forward pass written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import conv2d, gelu, layer_norm

from backbones import UViT
from backbones.layers.embedding import sinusoid

# (preset, shape, classes, count, millions as published)
PUBLISHED = [
    ("U-ViT-S/2", (3, 32, 32), 0, 44_255_328, "44.3"),  # CIFAR-10
    ("U-ViT-M/4", (3, 64, 64), 1000, 130_941_060, "130.9"),  # ImageNet 64; "131 M"
    ("U-ViT-L/4", (3, 64, 64), 1000, 286_828_676, "286.8"),  # ImageNet 64; "287 M"
    ("U-ViT-L/2", (4, 32, 32), 1000, 286_763_172, "286.8"),  # ImageNet 256
    ("U-ViT-H/2", (4, 32, 32), 1000, 500_832_016, "500.8"),  # ImageNet 256; "501 M"
]


@pytest.mark.parametrize(("name", "shape", "classes", "count", "millions"), PUBLISHED)
def test_parameter_counts_are_the_published_ones(
    make_spec: Any, name: str, shape: tuple[int, ...], classes: int, count: int, millions: str
) -> None:
    with torch.device("meta"):
        network = UViT(make_spec(shape, classes=classes), **UViT.presets[name])
    assert sum(parameter.numel() for parameter in network.parameters()) == count
    assert f"{count / 1e6:.1f}" == millions


@pytest.mark.parametrize(("name", "millions"), [("U-ViT-S/2", "45"), ("U-ViT-S-Deep/2", "58")])
def test_parameter_counts_with_text_are_the_published_ones(make_spec: Any, name: str, millions: str) -> None:
    """On MS-COCO: 77 tokens of width 768, all with positions; our null token comes on top."""
    with torch.device("meta"):
        network = UViT(make_spec((4, 32, 32), context=(77, 768)), **UViT.presets[name])
    count = sum(parameter.numel() for parameter in network.parameters()) - 768
    assert f"{count / 1e6:.0f}" == millions


def test_every_preset_builds(make_spec: Any) -> None:
    for name, options in UViT.presets.items():
        with torch.device("meta"):
            network = UViT(make_spec((4, 32, 32), classes=1000), step=True, **options)
        assert name.endswith(f"/{network.patch}")
        assert network.conv != name.startswith("U-ViT-H")


def test_forward_is_the_published_one_written_out(make_spec: Any) -> None:
    torch.manual_seed(0)
    network = UViT(make_spec((2, 4, 6), classes=3), patch=2, width=8, depth=4, heads=2).double()
    p = dict(network.named_parameters())
    with torch.no_grad():
        for parameter in p.values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    z, t, label = torch.randn(2, 2, 4, 6).double(), torch.rand(2).double(), torch.tensor([0, 2])

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return layer_norm(x, (8,), p[f"{name}.weight"], p[f"{name}.bias"])

    def block(x: torch.Tensor, name: str) -> torch.Tensor:
        q, k, v = (
            part.unflatten(2, (2, 4)).transpose(1, 2)
            for part in (norm(x, f"{name}.norm1") @ p[f"{name}.attn.qkv.weight"].T).split(8, dim=2)
        )
        attended = (torch.softmax(q @ k.mT / 2, dim=-1) @ v).transpose(1, 2).flatten(2)
        x = x + attended @ p[f"{name}.attn.proj.weight"].T + p[f"{name}.attn.proj.bias"]
        hidden = gelu(norm(x, f"{name}.norm2") @ p[f"{name}.mlp.fc1.weight"].T + p[f"{name}.mlp.fc1.bias"])
        return x + hidden @ p[f"{name}.mlp.fc2.weight"].T + p[f"{name}.mlp.fc2.bias"]

    patches = z.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).reshape(2, 6, 8)
    patches = patches @ p["patch_embed.proj.weight"].flatten(1).T + p["patch_embed.proj.bias"]
    x = torch.cat([p["label_emb.weight"][label][:, None], sinusoid(1000 * t, 8)[:, None], patches], dim=1)
    first = block(x + p["pos_embed"], "in_blocks.0")
    second = block(first, "in_blocks.1")
    x = block(second, "mid_block")
    for name, skip in (("out_blocks.0", second), ("out_blocks.1", first)):
        joined = torch.cat([x, skip], dim=2) @ p[f"{name}.skip_linear.weight"].T + p[f"{name}.skip_linear.bias"]
        x = block(joined, name)
    out = (norm(x, "norm") @ p["decoder_pred.weight"].T + p["decoder_pred.bias"])[:, 2:].view(2, 2, 3, 2, 2, 2)
    image = out.permute(0, 5, 1, 3, 2, 4).reshape(2, 2, 4, 6)
    expected = conv2d(image, p["final_layer.weight"], p["final_layer.bias"], padding=1)
    torch.testing.assert_close(network(z, t, {"label": label}), expected)


@given(
    patch=st.integers(1, 3),
    grid=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    channels=st.integers(1, 4),
    heads=st.integers(1, 3),
    half=st.integers(1, 2),
)
def test_every_legal_size_works(
    make_spec: Any, patch: int, grid: tuple[int, int], channels: int, heads: int, half: int
) -> None:
    shape = (channels, patch * grid[0], patch * grid[1])
    network = UViT(make_spec(shape), patch=patch, width=2 * heads, heads=heads, depth=2 * half)
    assert network(torch.randn(2, *shape), torch.rand(2)).shape == (2, *shape)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"patch": 5}, "patch=5 does not divide the sample's sides 8×8; allowed: 1, 2, 4, 8"),
        ({"heads": 7}, "heads=7 does not divide"),
        ({"depth": 3}, "depth=3.*even numbers"),
        ({"depth": 0}, "depth=0"),
        ({"width": 9, "heads": 3}, "width=9.*even numbers"),
    ],
)
def test_illegal_sizes_are_refused(make_spec: Any, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        UViT(make_spec((1, 8, 8)), **options)


def test_points_are_refused(make_spec: Any) -> None:
    with pytest.raises(ValueError, match="use backbone=MLP"):
        UViT(make_spec((2,)))


def test_tokens_stand_in_the_published_order(make_spec: Any) -> None:
    """Label and pooled vector, time, context, patches, each at the learned position of its place."""
    torch.manual_seed(0)
    spec = make_spec((1, 4, 4), classes=3, context=(3, 5), pooled=6)
    network = UViT(spec, patch=2, width=8, depth=2, heads=2)
    assert network.pos_embed.shape == (1, 1 + 1 + 1 + 3 + 4, 8)
    torch.nn.init.zeros_(network.pos_embed)
    seen: list[torch.Tensor] = []
    network.in_blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    z, t, text, pooled = torch.randn(1, 1, 4, 4), torch.rand(1), torch.randn(1, 3, 5), torch.randn(1, 6)
    network(z, t, {"label": torch.tensor([1]), "context": text, "pooled": pooled})
    (tokens,) = seen
    assert network.label_emb is not None
    assert network.pooled_embed is not None
    assert network.context_embed is not None
    expected = [
        network.label_emb.weight[1:2],
        network.pooled_embed.mlp(pooled),
        sinusoid(1000 * t, 8),
        network.context_embed(text)[0],
        network.patch_embed(z)[0],
    ]
    torch.testing.assert_close(tokens[0], torch.cat(expected))


def test_a_context_has_no_more_tokens_than_there_are_positions(make_spec: Any) -> None:
    network = UViT(make_spec((1, 4, 4), context=(3, 5)), patch=2)
    for length in (1, 3):
        assert network(torch.randn(2, 1, 4, 4), torch.rand(2), {"context": torch.randn(2, length, 5)}).isfinite().all()
    with pytest.raises(ValueError, match=r"condition\['context'\] has 4 tokens; this U-ViT has positions for 3"):
        network(torch.randn(2, 1, 4, 4), torch.rand(2), {"context": torch.randn(2, 4, 5)})


def test_positions_of_other_sides_are_interpolated(make_spec: Any) -> None:
    """Half as many cells lie between pairs of the learned ones; the tokens in front keep theirs."""
    torch.manual_seed(0)
    network = UViT(make_spec((1, 4, 8), classes=3), patch=2)
    torch.nn.init.normal_(network.pos_embed)
    own, found = network.pos_embed[0], network._positions((2, 2))[0]
    assert torch.equal(found[:2], own[:2])
    pairs = own[2:].view(2, 2, 2, -1).mean(2)
    torch.testing.assert_close(found[2:].view(2, 2, -1), pairs)
    assert network._positions((2, 4)) is network.pos_embed

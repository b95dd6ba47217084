"""MM-DiT: published sizes, its forward pass written out, and its text."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import gelu, layer_norm, silu

from backbones import MMDiT
from backbones.layers.embedding import sinusoid
from backbones.layers.positions import Coordinates, grid_positions

TEXT = {"context": (154, 4096), "pooled": 2048}
DEPTHS = (4, 6, 8, 10, 12, 15, 18, 24, 30, 38)


@pytest.mark.parametrize("depth", DEPTHS)
def test_parameter_counts_are_the_published_ones(make_spec: Any, depth: int) -> None:
    """SD3's sizes: 16 latent channels, patches of 2, text of width 4096, pooled 2048; our null rows come on top."""
    with torch.device("meta"):
        network = MMDiT(make_spec((16, 32, 32), **TEXT), **MMDiT.presets[f"MMDiT-d{depth}"])
    width, null_rows = 64 * depth, 4096 + 2048
    published = width**2 * (36 * depth - 9) + width * (30 * depth + 6526) + 64
    assert sum(parameter.numel() for parameter in network.parameters()) - null_rows == published
    assert (network.width, network.heads) == (width, depth)


def test_presets_are_the_ones_counted() -> None:
    assert set(MMDiT.presets) == {f"MMDiT-d{depth}" for depth in DEPTHS}


def test_forward_is_the_paper_written_out(make_spec: Any) -> None:
    torch.manual_seed(0)
    spec = make_spec((2, 4, 6), context=(3, 5), pooled=7)
    network = MMDiT(
        spec,
        patch=2,
        width=8,
        depth=2,
        heads=2,
        qk_norm=True,
        self_attention=(1,),
        max_size=5,
        position_scale=0.5,
        position_offset=1.0,
    ).double()
    p = dict(network.named_parameters())
    z, t = torch.randn(2, 2, 4, 6).double(), torch.rand(2).double()
    text, pooled = torch.randn(2, 3, 5).double(), torch.randn(2, 7).double()
    with torch.no_grad():
        for parameter in p.values():
            parameter.add_(0.1 * torch.randn_like(parameter))

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def mlp(x: torch.Tensor, name: str) -> torch.Tensor:
        return linear(silu(linear(x, f"{name}.mlp.0")), f"{name}.mlp.2")

    def norm(x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return layer_norm(x, (8,), eps=1e-6) * (1 + scale[:, None]) + shift[:, None]

    def rms(x: torch.Tensor, name: str) -> torch.Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * p[f"{name}.weight"]

    def split(x: torch.Tensor, name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        q, k, v = linear(x, f"{name}.qkv").unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        return rms(q, f"{name}.ln_q"), rms(k, f"{name}.ln_k"), v

    def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return (torch.softmax(q @ k.mT / 2, dim=-1) @ v).transpose(1, 2).flatten(2)

    def feed(x: torch.Tensor, attended: torch.Tensor, m: tuple[torch.Tensor, ...], name: str) -> torch.Tensor:
        alone = attention(*split(norm(x, m[6], m[7]), f"{name}.attn2")) if len(m) == 9 else None
        x = x + m[2][:, None] * linear(attended, f"{name}.attn.proj")
        if alone is not None:
            x = x + m[8][:, None] * linear(alone, f"{name}.attn2.proj")
        hidden = gelu(linear(norm(x, m[3], m[4]), f"{name}.mlp.fc1"), approximate="tanh")
        return x + m[5][:, None] * linear(hidden, f"{name}.mlp.fc2")

    y = mlp(sinusoid(1000 * t, 256), "t_embedder") + mlp(pooled, "y_embedder")
    c = linear(text, "context_embedder")
    patches = z.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).reshape(2, 6, 8)
    x = patches @ p["x_embedder.proj.weight"].flatten(1).T + p["x_embedder.proj.bias"]
    places = grid_positions((9, 9), 8, device=x.device, dtype=x.dtype, coordinates=Coordinates(0, 0.5, 0.0))
    x = x + places.view(9, 9, 8)[0:2, 0:3].flatten(0, 1)  # from (5 − 2)//2 = (5 − 3)//2 = 1 on, less an offset of 1
    for block, last in (("joint_blocks.0", False), ("joint_blocks.1", True)):
        names = (f"{block}.context_block", f"{block}.x_block")
        modulations = [linear(silu(y), f"{name}.adaLN_modulation.1").split(8, dim=1) for name in names]
        assert [len(m) for m in modulations] == ([2, 9] if last else [6, 6])
        heads = [
            split(norm(tokens, m[0], m[1]), f"{name}.attn")
            for tokens, m, name in zip((c, x), modulations, names, strict=True)
        ]
        attended = attention(*(torch.cat(pair, dim=2) for pair in zip(*heads, strict=True)))
        x = feed(x, attended[:, 3:], modulations[1], names[1])
        c = c if last else feed(c, attended[:, :3], modulations[0], names[0])
    shift, scale = linear(silu(y), "final_layer.adaLN_modulation.1").split(8, dim=1)
    out = linear(norm(x, shift, scale), "final_layer.linear").view(2, 2, 3, 2, 2, 2)
    expected = out.permute(0, 5, 1, 3, 2, 4).reshape(2, 2, 4, 6)
    torch.testing.assert_close(network(z, t, {"context": text, "pooled": pooled}), expected)


@pytest.fixture
def texted(make_spec: Any) -> MMDiT:
    torch.manual_seed(0)
    network = MMDiT(make_spec((1, 4, 4), context=(5, 7), pooled=6), patch=2, width=16, depth=2, heads=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def test_masked_context_does_not_matter(texted: MMDiT, no_grad: None) -> None:
    z, t = torch.randn(3, 1, 4, 4), torch.rand(3)
    text, pooled = torch.randn(3, 5, 7), torch.randn(3, 6)
    mask = torch.tensor([[1, 1, 0, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]).bool()

    def output(context: torch.Tensor, mask: torch.Tensor, drop: bool = False) -> torch.Tensor:
        rows = torch.full((3,), drop)
        return texted(z, t, {"context": context, "context_mask": mask, "pooled": pooled, "drop": rows})

    expected = output(text, mask)
    garbage = torch.where(mask[..., None], text, 1e3)
    torch.testing.assert_close(output(garbage, mask), expected)
    longer = torch.cat([text, torch.randn(3, 4, 7)], dim=1)
    torch.testing.assert_close(output(longer, torch.cat([mask, torch.zeros(3, 4).bool()], dim=1)), expected)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(output(text[:, order], mask[:, order]), expected)
    assert ((output(text, torch.ones_like(mask)) - expected).flatten(1).abs().amax(1) > 1e-4).tolist() == [1, 0, 1]
    torch.testing.assert_close(output(text, mask, drop=True), texted(z, t, None))


def test_null_text_starts_as_zeros(texted: MMDiT, no_grad: None) -> None:
    """SD3's null condition is the zero vector and zero tokens."""
    texted.initialise(0)
    torch.nn.init.normal_(texted.final_layer.linear.weight)
    z, t = torch.randn(2, 1, 4, 4), torch.rand(2)
    zeros = {"context": torch.zeros(2, 5, 7), "pooled": torch.zeros(2, 6)}
    assert torch.equal(texted(z, t, zeros), texted(z, t, None))


def test_without_learned_nulls_all_parameters_are_published_ones(make_spec: Any, no_grad: None) -> None:
    """Then null is zeros, which it is at the start where it is learned."""
    torch.manual_seed(0)
    spec = make_spec((1, 4, 4), context=(5, 7), pooled=6)
    networks = [MMDiT(spec, patch=2, width=16, depth=2, heads=2, learned_null=null) for null in (True, False)]
    learned, zeros = networks
    for network in networks:
        network.initialise(0)
        torch.nn.init.normal_(network.final_layer.linear.weight, generator=torch.Generator().manual_seed(0))
    extra = learned.state_dict().keys() - zeros.state_dict().keys()
    assert extra == {"null_context.row", "y_embedder.null.row"}
    z, t = torch.randn(2, 1, 4, 4), torch.rand(2)
    assert torch.equal(zeros(z, t), learned(z, t))


def test_sd35_medium_has_its_published_size(make_spec: Any) -> None:
    """2,243 million, without the position table."""
    with torch.device("meta"):
        network = MMDiT(
            make_spec((16, 128, 128), **TEXT),
            **MMDiT.presets["MMDiT-d24"],
            qk_norm=True,
            self_attention=tuple(range(13)),
            learned_null=False,
        )
    count = sum(parameter.numel() for parameter in network.parameters())
    width = 1536
    alone = 13 * (7 * width**2 + 7 * width + 2 * 64)
    assert count == width**2 * (36 * 24 - 9) + width * (30 * 24 + 6526) + 64 + alone + 24 * 4 * 64
    assert f"{count / 1e6:.0f}" == "2243"


def test_a_third_set_costs_half_as_much_again(make_spec: Any) -> None:
    """54·D² instead of 36·D² in a block that is not the last."""
    spec, counts = make_spec((16, 32, 32), sections=(77, 77), **TEXT), {}
    for sets in (2, 3):
        for depth in (2, 3):
            with torch.device("meta"):
                network = MMDiT(spec, patch=2, width=256, depth=depth, heads=4, sets=sets)
            counts[sets, depth] = sum(parameter.numel() for parameter in network.parameters())
    assert counts[2, 3] - counts[2, 2] == 36 * 256**2 + 30 * 256
    assert counts[3, 3] - counts[3, 2] == 54 * 256**2 + 45 * 256


def test_equal_sets_are_one(make_spec: Any, no_grad: None) -> None:
    """Three sets, of which the context's two are equal, are two sets on the whole context."""
    torch.manual_seed(0)
    spec = make_spec((1, 4, 4), context=(5, 7), pooled=6, sections=(2, 3))
    size: dict[str, Any] = {"patch": 2, "width": 16, "depth": 2, "heads": 2, "qk_norm": True}
    two, three = MMDiT(spec, **size), MMDiT(spec, **size, sets=3)
    for parameter in two.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    state = two.state_dict()
    three.load_state_dict({name: state[name.replace("second_", "")] for name in three.state_dict()})
    z, t = torch.randn(3, 1, 4, 4), torch.rand(3)
    mask = torch.tensor([[1, 1, 0, 1, 0], [0, 0, 1, 1, 1], [1] * 5])
    text = {"context": torch.randn(3, 5, 7), "context_mask": mask, "pooled": torch.randn(3, 6)}
    torch.testing.assert_close(three(z, t, text), two(z, t, text))
    second = three.joint_blocks[0].second_context_block.mlp.fc2.weight
    second.add_(1.0)
    assert ((three(z, t, text) - two(z, t, text)).flatten(1).abs().amax(1) > 1e-4).all()


def test_a_context_of_one_section_has_no_third_set(make_spec: Any) -> None:
    with pytest.raises(ValueError, match=r"this data has a context of 1 section$"):
        MMDiT(make_spec((1, 8, 8), context=(4, 5)), sets=3)


def test_a_table_bounds_the_sides(make_spec: Any) -> None:
    network = MMDiT(make_spec((1, 8, 8)), patch=2, max_size=6)
    assert network(torch.randn(2, 1, 12, 4), torch.rand(2)).shape == (2, 1, 12, 4)
    with pytest.raises(ValueError, match="a sample of 7×2 patches; max_size=6 along an axis"):
        network(torch.randn(2, 1, 14, 4), torch.rand(2))


def test_labels_become_vector_and_four_tokens(make_spec: Any) -> None:
    network = MMDiT(make_spec((1, 8, 8), classes=10))
    state = network.state_dict()
    assert state["label_embedder.embedding_table.weight"].shape == (11, network.width)
    assert state["label_context.embedding_table.weight"].shape == (11, 4 * network.width)
    assert not any("null" in name or "y_embedder" in name or "context_embedder" in name for name in state)


@given(
    patch=st.integers(1, 3),
    grid=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    classes=st.integers(0, 3),
    context=st.sampled_from([None, (1, 3), (4, 2)]),
    pooled=st.integers(0, 3),
    heads=st.integers(1, 2),
    depth=st.integers(1, 2),
)
def test_every_legal_size_works(
    make_spec: Any, patch: int, grid: tuple[int, int], classes: int, context: Any, pooled: int, heads: int, depth: int
) -> None:
    shape = (1, patch * grid[0], patch * grid[1])
    spec = make_spec(shape, classes=classes, context=context, pooled=pooled)
    network = MMDiT(spec, patch=patch, width=4 * heads, heads=heads, depth=depth)
    assert network(torch.randn(2, *shape), torch.rand(2)).shape == (2, *shape)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"patch": 3}, "patch=3 does not divide"),
        ({"heads": 5}, "heads=5 does not divide width=64"),
        ({"width": 66, "heads": 3}, "width=66.*multiples of 4"),
        ({"depth": 0}, "depth=0"),
        ({"sets": 3}, "sets=3 is for a context of two sections.*this data has no context"),
        ({"sets": 4}, "sets=4; allowed: 2, 3"),
        ({"self_attention": (0, 4)}, "self_attention has block 4; there are 0 to 3"),
        ({"max_size": 1}, "a sample of 2×2 patches; max_size=1"),
        ({"position_scale": 0.0}, "position_scale=0.0"),
    ],
)
def test_illegal_sizes_are_refused(make_spec: Any, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        MMDiT(make_spec((1, 8, 8)), **options)


def test_points_are_refused(make_spec: Any) -> None:
    with pytest.raises(ValueError, match="use backbone=MLP"):
        MMDiT(make_spec((2,)))

"""CrossDiT: its sizes, its forward pass written out, and what its blocks share."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import gelu, layer_norm, silu

from backbones import CrossDiT, DiT
from backbones.layers.embedding import sinusoid
from backbones.layers.positions import grid_positions


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("shared", "weights"), [(False, 22), (True, 16)])
def test_a_block_has_as_many_parameters_as_its_layers(make_spec: Any, shared: bool, weights: int) -> None:
    """22·D² + 19·D in a block, or 16·D² + 19·D beside 6·D² + 6·D for all: tables take the place of adaLN's biases."""
    spec, width = make_spec((4, 32, 32), context=(77, 2048), pooled=2048), 384
    counts = []
    for depth in (1, 2):
        with torch.device("meta"):
            options = {**CrossDiT.presets["CrossDiT-S/2"], "depth": depth, "shared_adaln": shared}
            counts.append(parameters(CrossDiT(spec, **options)))
    assert counts[1] - counts[0] == weights * width**2 + 19 * width
    with torch.device("meta"):
        difference = parameters(CrossDiT(spec, depth=4)) - parameters(CrossDiT(spec, depth=4, shared_adaln=True))
    assert difference == 3 * 6 * 84**2 - 6 * 84  # one layer for four, and its biases beside the four tables


def test_presets_are_those_of_dit(make_spec: Any) -> None:
    assert {name.removeprefix("Cross"): options for name, options in CrossDiT.presets.items()} == DiT.presets
    with torch.device("meta"):
        for options in CrossDiT.presets.values():
            CrossDiT(make_spec((4, 32, 32), classes=1000), step=True, **options)


@pytest.mark.parametrize("shared", [False, True])
def test_forward_is_the_paper_written_out(make_spec: Any, shared: bool) -> None:
    torch.manual_seed(0)
    spec = make_spec((2, 4, 6), context=(3, 5), pooled=7)
    network = CrossDiT(spec, patch=2, width=8, depth=2, heads=2, shared_adaln=shared).double()
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

    def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        q, k, v = (part.unflatten(2, (2, 4)).transpose(1, 2) for part in (q, k, v))
        return (torch.softmax(q @ k.mT / 2, dim=-1) @ v).transpose(1, 2).flatten(2)

    y = mlp(sinusoid(1000 * t, 256), "t_embedder") + mlp(pooled, "pooled_embedder")
    c = linear(text, "context_embedder")
    patches = z.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).reshape(2, 6, 8)
    x = patches @ p["x_embedder.proj.weight"].flatten(1).T + p["x_embedder.proj.bias"]
    x = x + grid_positions((2, 3), 8, device=x.device, dtype=x.dtype)
    for block in ("blocks.0", "blocks.1"):
        if shared:
            table = p[f"{block}.adaLN_modulation.scale_shift_table"]
            m = (linear(silu(y), "t_block.1") + table).split(8, dim=1)
        else:
            m = linear(silu(y), f"{block}.adaLN_modulation.1").split(8, dim=1)
        heads = linear(norm(x, m[0], m[1]), f"{block}.attn.qkv").split(8, dim=2)
        x = x + m[2][:, None] * linear(attention(*heads), f"{block}.attn.proj")
        keys_and_values = linear(c, f"{block}.cross_attn.kv_linear").split(8, dim=2)
        read = attention(linear(x, f"{block}.cross_attn.q_linear"), *keys_and_values)
        x = x + linear(read, f"{block}.cross_attn.proj")
        hidden = gelu(linear(norm(x, m[3], m[4]), f"{block}.mlp.fc1"), approximate="tanh")
        x = x + m[5][:, None] * linear(hidden, f"{block}.mlp.fc2")
    shift, scale = linear(silu(y), "final_layer.adaLN_modulation.1").split(8, dim=1)
    out = linear(norm(x, shift, scale), "final_layer.linear").view(2, 2, 3, 2, 2, 2)
    expected = out.permute(0, 5, 1, 3, 2, 4).reshape(2, 2, 4, 6)
    torch.testing.assert_close(network(z, t, {"context": text, "pooled": pooled}), expected)


@pytest.mark.parametrize("shared", [False, True])
def test_it_starts_as_the_dit_that_shares_its_seed(make_spec: Any, shared: bool) -> None:
    """Cross-attention and gates start silent, and parameters with one name start alike."""
    spec = make_spec((1, 8, 8), classes=3)
    cross, plain = CrossDiT(spec, shared_adaln=shared), DiT(spec, width=84)
    for network in (cross, plain):
        network.initialise(0)
        torch.nn.init.eye_(network.final_layer.linear.weight)
    z, t, label = torch.randn(2, 1, 8, 8), torch.rand(2), torch.tensor([0, 2])
    torch.testing.assert_close(cross(z, t, {"label": label}), plain(z, t, {"label": label}))


def test_labels_alone_are_attended_to(make_spec: Any) -> None:
    state = CrossDiT(make_spec((1, 8, 8), classes=10)).state_dict()
    assert state["label_context.embedding_table.weight"].shape == (11, 4 * 84)
    assert not any("null" in name or "context_embedder" in name for name in state)


@given(
    patch=st.integers(1, 3),
    grid=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    context=st.sampled_from([None, (1, 3), (4, 2)]),
    heads=st.integers(1, 2),
    shared=st.booleans(),
)
def test_every_legal_size_works(
    make_spec: Any, patch: int, grid: tuple[int, int], context: Any, heads: int, shared: bool
) -> None:
    shape = (1, patch * grid[0], patch * grid[1])
    spec = make_spec(shape, context=context)
    network = CrossDiT(spec, patch=patch, width=4 * heads, heads=heads, depth=1, shared_adaln=shared)
    assert network(torch.randn(2, *shape), torch.rand(2)).shape == (2, *shape)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"patch": 3}, "patch=3 does not divide the sample's sides 8×8; allowed: 1, 2, 4, 8"),
        ({"heads": 5}, "heads=5 does not divide width=84"),
        ({"width": 99}, "width=99.*multiples of 4"),
        ({"depth": 0}, "depth=0"),
    ],
)
def test_illegal_sizes_are_refused(make_spec: Any, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        CrossDiT(make_spec((1, 8, 8)), **options)


def test_points_are_refused(make_spec: Any) -> None:
    with pytest.raises(ValueError, match="CrossDiT cuts samples"):
        CrossDiT(make_spec((2,)))

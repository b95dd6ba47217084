"""SimpleUViT: its forward pass written out, its sizes, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import avg_pool2d, interpolate, silu

from backbones.layers.positions import grid_positions
from backbones.simple_uvit import SimpleUViT


def test_forward_is_levels_of_convolutions_around_a_transformer(make_spec: Any) -> None:
    torch.manual_seed(0)
    spec = make_spec((2, 8, 4), classes=3, context=(3, 5))
    network = SimpleUViT(spec, channels=(4, 8), blocks=2, width=16, depth=2, heads=2).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    z, t, label = torch.randn(2, 2, 8, 4).double(), torch.rand(2).double(), torch.tensor([0, 2])
    context = torch.randn(2, 3, 5).double()
    assert network.y_embedder is not None
    assert network.context_embedder is not None
    y = network.t_embedder(t) + network.y_embedder(label, label < 0)
    m = dict(network.named_modules())

    a = m["x_embedder"](z)
    first = m["down_blocks.0"](a, y)
    second = m["down_blocks.1"](first, y)
    third = m["down_blocks.2"](m["down_layers.0"](avg_pool2d(second, 2)), y)
    fourth = m["down_blocks.3"](third, y)
    bottom = m["down_layers.1"](avg_pool2d(fourth, 2))
    assert bottom.shape == (2, 16, 2, 1)
    x = bottom.permute(0, 2, 3, 1).reshape(2, 2, 16)
    x = x + grid_positions((2, 1), 16, device=x.device, dtype=x.dtype)
    for name in ("middle_blocks.0", "middle_blocks.1"):
        x = m[name](x, y, network.context_embedder(context))
    x = x.reshape(2, 2, 1, 16).permute(0, 3, 1, 2)
    x = interpolate(m["up_layers.1"](x), scale_factor=2)
    x = m["up_blocks.3"](torch.cat([x, fourth], 1), y)
    x = m["up_blocks.2"](torch.cat([x, third], 1), y)
    x = interpolate(m["up_layers.0"](x), scale_factor=2)
    x = m["up_blocks.1"](torch.cat([x, second], 1), y)
    x = m["up_blocks.0"](torch.cat([x, first], 1), y)
    expected = m["final_layer"](silu(m["norm"](x)))
    torch.testing.assert_close(network(z, t, {"label": label, "context": context}), expected)


@given(
    channels=st.lists(st.integers(1, 9), min_size=1, max_size=3), blocks=st.integers(1, 2),
    sides=st.lists(st.integers(1, 2), min_size=1, max_size=3), c=st.integers(1, 3), heads=st.integers(1, 2),
)  # fmt: skip
def test_every_legal_size_works(
    make_spec: Any, channels: list[int], blocks: int, sides: list[int], c: int, heads: int
) -> None:
    factor = 2 ** len(channels)
    shape = (c, *(factor * side for side in sides))
    width = 2 * len(sides) * heads
    network = SimpleUViT(make_spec(shape), channels=tuple(channels), blocks=blocks, width=width, depth=1, heads=heads)
    assert network(torch.randn(2, *shape), torch.rand(2)).shape == (2, *shape)
    wider = (c, *(2 * factor for _ in sides))
    assert network(torch.randn(1, *wider), torch.rand(1)).shape == (1, *wider)


@pytest.mark.parametrize(
    ("shape", "options", "reason"),
    [
        (
            (1, 8, 12),
            {"channels": (4, 4, 4)},
            r"channels=\[4, 4, 4\] halve the sides 8×12 3 times; allowed: 1 to 2 levels",
        ),
        ((1, 7, 8), {"channels": (4,)}, "none, as a side is odd: use backbone=DiT"),
        ((1, 8, 8), {"channels": ()}, "one level at least"),
        ((1, 8, 8), {"channels": (4, 0)}, "a number above 0 for each level"),
        ((1, 8, 8), {"blocks": 0}, "blocks=0"),
        ((1, 8, 8), {"heads": 5}, "heads=5 does not divide width=96"),
        ((1, 8, 8), {"width": 6, "heads": 2}, "width=6"),
        ((2,), {}, "use backbone=MLP"),
    ],
)
def test_illegal_sizes_are_refused(
    make_spec: Any, shape: tuple[int, ...], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        SimpleUViT(make_spec(shape), **options)


def test_other_sides_are_refused_when_they_cannot_be_halved(make_spec: Any) -> None:
    network = SimpleUViT(make_spec((1, 8, 8)))
    with pytest.raises(ValueError, match=r"z has shape \(B, 1, 8, 6\); this network takes \(B, 1, 4·n, 4·n\)"):
        network(torch.zeros(2, 1, 8, 6), torch.zeros(2))

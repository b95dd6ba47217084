"""DiT: published sizes, and its forward pass written out."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import gelu, layer_norm, silu

from backbones import DiT, MMDiT
from backbones.layers.embedding import sinusoid
from backbones.layers.positions import grid_positions

# Parameters of the public models for 256×256 images (latents 32×32×4), as their code counts them: with the fixed
# position codes, and an output twice as wide for the learned variance.
PUBLISHED = {"DiT-S/2": 32_963_360, "DiT-B/2": 130_512_416, "DiT-L/2": 458_102_816, "DiT-XL/2": 675_129_632}
PUBLISHED_MILLIONS = {"DiT-S/2": "32.96", "DiT-B/2": "130.51", "DiT-L/2": "458.10", "DiT-XL/2": "675.13"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_the_published_ones(make_spec: Any, name: str) -> None:
    with torch.device("meta"):
        network = DiT(make_spec((4, 32, 32), classes=1000), **DiT.presets[name])
    ours = sum(parameter.numel() for parameter in network.parameters())
    position_codes = 16 * 16 * network.width
    variance = 4 * 2 * 2 * (network.width + 1)
    assert ours + position_codes + variance == PUBLISHED[name]
    assert f"{PUBLISHED[name] / 1e6:.2f}" == PUBLISHED_MILLIONS[name]


def test_every_preset_builds(make_spec: Any) -> None:
    for name, options in DiT.presets.items():
        with torch.device("meta"):
            network = DiT(make_spec((4, 32, 32), classes=1000), step=True, **options)
        assert name.endswith(f"/{network.patch}")
        assert network.width % 8 == 0


def test_forward_is_the_paper_written_out(make_spec: Any) -> None:
    torch.manual_seed(0)
    network = DiT(make_spec((2, 4, 6), classes=3), patch=2, width=8, depth=2, heads=2).double()
    p = dict(network.named_parameters())
    z, t, label = torch.randn(2, 2, 4, 6).double(), torch.rand(2).double(), torch.tensor([0, 2])

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def norm(x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return layer_norm(x, (8,), eps=1e-6) * (1 + scale[:, None]) + shift[:, None]

    y = linear(silu(linear(sinusoid(1000 * t, 256), "t_embedder.mlp.0")), "t_embedder.mlp.2")
    y = y + p["y_embedder.embedding_table.weight"][label]
    patches = z.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).reshape(2, 6, 8)
    x = patches @ p["x_embedder.proj.weight"].flatten(1).T + p["x_embedder.proj.bias"]
    x = x + grid_positions((2, 3), 8, device=x.device, dtype=x.dtype)
    for block in ("blocks.0", "blocks.1"):
        m = linear(silu(y), f"{block}.adaLN_modulation.1").split(8, dim=1)
        q, k, v = (
            part.unflatten(2, (2, 4)).transpose(1, 2)
            for part in linear(norm(x, m[0], m[1]), f"{block}.attn.qkv").split(8, dim=2)
        )
        attended = (torch.softmax(q @ k.mT / 2, dim=-1) @ v).transpose(1, 2).flatten(2)
        x = x + m[2][:, None] * linear(attended, f"{block}.attn.proj")
        hidden = gelu(linear(norm(x, m[3], m[4]), f"{block}.mlp.fc1"), approximate="tanh")
        x = x + m[5][:, None] * linear(hidden, f"{block}.mlp.fc2")
    shift, scale = linear(silu(y), "final_layer.adaLN_modulation.1").split(8, dim=1)
    out = linear(norm(x, shift, scale), "final_layer.linear").view(2, 2, 3, 2, 2, 2)
    expected = out.permute(0, 5, 1, 3, 2, 4).reshape(2, 2, 4, 6)
    torch.testing.assert_close(network(z, t, {"label": label}), expected)


def test_the_learned_variance_is_there_and_left_out(make_spec: Any) -> None:
    """The last layer's features are (p1, p2, 2C): the published count, and the first C channels are the output."""
    torch.manual_seed(0)
    size = {"patch": 2, "width": 8, "depth": 1, "heads": 2}
    both, one = DiT(make_spec((3, 4, 4)), learn_sigma=True, **size), DiT(make_spec((3, 4, 4)), **size)
    kept = both.state_dict()
    for name in ("final_layer.linear.weight", "final_layer.linear.bias"):
        kept[name] = kept[name].unflatten(0, (4, 2, 3))[:, 0].flatten(0, 1)
    one.load_state_dict(kept)
    z, t = torch.randn(2, 3, 4, 4), torch.rand(2)
    torch.testing.assert_close(both(z, t), one(z, t))


@given(
    patch=st.integers(1, 4),
    grid=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    channels=st.integers(1, 4),
    heads=st.integers(1, 3),
    depth=st.integers(1, 2),
    ratio=st.sampled_from([0.5, 1.0, 4.0]),
)
def test_every_legal_size_works(
    make_spec: Any, patch: int, grid: tuple[int, int], channels: int, heads: int, depth: int, ratio: float
) -> None:
    shape = (channels, patch * grid[0], patch * grid[1])
    network = DiT(make_spec(shape), patch=patch, width=4 * heads, heads=heads, depth=depth, mlp_ratio=ratio)
    assert network(torch.randn(2, *shape), torch.rand(2)).shape == (2, *shape)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"patch": 3}, "patch=3 does not divide the sample's sides 8×8; allowed: 1, 2, 4, 8"),
        ({"patch": 0}, "patch=0"),
        ({"heads": 5}, "heads=5 does not divide width=96; allowed: 1, 2, 3, 4, 6, 8"),
        ({"heads": 0}, "heads=0"),
        ({"width": 99}, "width=99.*multiples of 4"),
        ({"depth": 0}, "depth=0; allowed: above 0"),
        ({"mlp_ratio": -1.0}, "mlp_ratio=-1.0"),
        ({"time_scale": 0.0}, "time_scale=0.0"),
        ({"time_scale": float("inf")}, "time_scale=inf"),
    ],
)
def test_illegal_sizes_are_refused(make_spec: Any, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        DiT(make_spec((1, 8, 8)), **options)


def test_points_are_refused(make_spec: Any) -> None:
    with pytest.raises(ValueError, match="use backbone=MLP"):
        DiT(make_spec((2,)))


def test_text_passes_through_the_same_weights(make_spec: Any) -> None:
    """SD3's "DiT": MM-DiT, of which it is the case that both sets of weights are one."""
    torch.manual_seed(0)
    spec = make_spec((1, 4, 6), context=(5, 7), pooled=6)
    size: dict[str, Any] = {"patch": 2, "width": 8, "depth": 2, "heads": 2}
    network, joint = DiT(spec, **size).double(), MMDiT(spec, **size).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    own, tied = network.state_dict(), {}
    for name, value in joint.state_dict().items():
        source = re.sub(r"^joint_(blocks\.\d+)\.(context|x)_block\.", r"\1.", name)
        source = re.sub(r"^y_embedder", "pooled_embedder", source)
        tied[name] = own[source][: len(value)]  # the last context block has a shift and a scale alone
    joint.load_state_dict(tied)
    z, t = torch.randn(3, 1, 4, 6).double(), torch.rand(3).double()
    given = {
        "context": torch.randn(3, 5, 7),
        "context_mask": torch.tensor([[1, 1, 0, 1, 0], [1] * 5, [1] * 5]),
        "pooled": torch.randn(3, 6),
        "drop": torch.tensor([False, False, True]),
    }
    for condition in (given, None):
        torch.testing.assert_close(network(z, t, condition), joint(z, t, condition))


def test_a_sample_of_other_sides_has_the_positions_of_its_cells(make_spec: Any) -> None:
    """The network for 8×8 is, on 4×12, the one that was built for 4×12."""
    torch.manual_seed(0)
    square, wide = (DiT(make_spec(shape, classes=3), patch=2) for shape in ((1, 8, 8), (1, 4, 12)))
    with torch.no_grad():
        for parameter in square.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    wide.load_state_dict(square.state_dict())
    z, t = torch.randn(2, 1, 4, 12), torch.rand(2)
    assert torch.equal(square(z, t), wide(z, t))

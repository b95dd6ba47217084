"""diffusers' U-Net behind our interface. What holds for every backbone is tested with the others."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import silu

from backbones.base import Backbone
from backbones.conformance import BackboneConformance
from backbones.unet import Code, UNet

SMALL: dict[str, Any] = {"channels": (8, 16), "blocks": 1, "attention": (1,), "head_width": 8}


def test_without_diffusers_it_says_what_to_install(make_spec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ValueError, match=r"diffusers is not installed here: pip install 'fewstep\[unet\]'"):
        UNet(make_spec((1, 8, 8)), **SMALL)


def test_it_is_imported_without_diffusers() -> None:
    program = "import sys; sys.modules['diffusers'] = None; import backbones.unet; print('fine')"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "fine"


@pytest.mark.parametrize(
    ("shape", "options", "reason"),
    [
        ((2,), {}, "UNet takes images .* use backbone=DiT or MLP"),
        ((1, 8, 6), {"channels": (8, 8, 8)}, "halve the sides 8×6 2 times; allowed: 2 levels or fewer"),
        ((1, 8, 8), {"channels": ()}, "one level at least"),
        ((1, 8, 8), {"channels": (5, 8)}, "the first is the width of the time's code; allowed: even numbers"),
        ((1, 8, 8), {"attention": (2,)}, "there is no level 2; allowed: 0 … 1"),
        ((1, 8, 8), {"head_width": 5}, "head_width=5 does not divide the 16 channels of level 1"),
        ((1, 8, 8), {"blocks": 0}, "blocks=0"),
        ((1, 8, 8), {"time_scale": 0.0}, "time_scale=0"),
    ],
)
def test_illegal_sizes_are_refused(
    make_spec: Any, shape: tuple[int, ...], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        UNet(make_spec(shape), **(SMALL | options))


def test_a_context_is_refused(make_spec: Any) -> None:
    with pytest.raises(ValueError, match="UNet takes label and pooled as condition, but the data has context"):
        UNet(make_spec((1, 8, 8), context=(3, 4)), **SMALL)


@pytest.fixture(scope="module")
def _diffusers() -> None:
    pytest.importorskip("diffusers", reason="pip install 'fewstep[unet]'")


@pytest.mark.usefixtures("_diffusers")
class TestUNet(BackboneConformance):
    resized = ((1, 8, 4), (1, 2, 2))
    refused_shapes = (*BackboneConformance.refused_shapes, (1, 5, 6))
    unread = ("*.to_k.bias",)  # softmax leaves out what all keys have in common

    def backbone(self, spec: Any, *, step: bool) -> Backbone:
        return UNet(spec, step=step, **SMALL)


@pytest.mark.usefixtures("_diffusers")
@given(
    channels=st.integers(1, 3), rows=st.integers(1, 3), columns=st.integers(1, 3), levels=st.integers(1, 3),
    blocks=st.integers(1, 2), attended=st.booleans(), fours=st.integers(1, 3),
)  # fmt: skip
@settings(max_examples=15, deadline=None)
def test_every_legal_size_works(
    make_spec: Any, channels: int, rows: int, columns: int, levels: int, blocks: int, attended: bool, fours: int
) -> None:
    factor = 2 ** (levels - 1)
    shape = (channels, 2 * factor * rows, 2 * factor * columns)
    options = {"channels": (4 * fours,) * levels, "blocks": blocks, "head_width": 2}
    network = UNet(make_spec(shape), attention=(levels - 1,) if attended else (), **options)
    assert network(torch.randn(2, *shape), torch.rand(2)).shape == (2, *shape)
    other = (channels, 4 * factor, 2 * factor)
    assert network(torch.randn(1, *other), torch.rand(1)).shape == (1, *other)


@pytest.mark.usefixtures("_diffusers")
def test_label_pooled_and_step_enter_as_diffusers_class_embedding(make_spec: Any) -> None:
    network = UNet(make_spec((1, 4, 4), classes=3, pooled=5), step=True, **SMALL).double()
    p = dict(network.named_parameters())
    with torch.no_grad():
        for parameter in p.values():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    z, t, label = torch.randn(2, 1, 4, 4).double(), torch.rand(2), torch.tensor([2, 0])
    pooled, step = torch.randn(2, 5).double(), torch.tensor([0.5, 0.25])

    def embedded(x: torch.Tensor, name: str) -> torch.Tensor:
        hidden = silu(x @ p[f"{name}.mlp.0.weight"].T + p[f"{name}.mlp.0.bias"])
        return hidden @ p[f"{name}.mlp.2.weight"].T + p[f"{name}.mlp.2.bias"]

    y = p["y_embedder.embedding_table.weight"][label] + embedded(pooled, "pooled_embedder")
    assert network.step_embedder is not None
    y = y + network.step_embedder(step)
    expected = network.network(z, 1000 * t, class_labels=y).sample
    given = {"label": label, "pooled": pooled}
    torch.testing.assert_close(network(z, t, given, step), expected)
    told = network(z, t, {**given, "label": 0 * label}, step)
    assert (told - expected)[0].abs().max() > 1e-4
    torch.testing.assert_close(told[1], expected[1])


@pytest.mark.usefixtures("_diffusers")
def test_attention_is_where_it_was_asked_for(make_spec: Any) -> None:
    def attended(**options: Any) -> list[str]:
        network = UNet(make_spec((1, 8, 8)), **(SMALL | options))
        return [name for name, _ in network.named_modules() if name.endswith(".attentions.0")]

    assert attended(attention=(0,)) == [
        "network.down_blocks.0.attentions.0", "network.up_blocks.1.attentions.0", "network.mid_block.attentions.0",
    ]  # fmt: skip
    assert attended(attention=()) == ["network.mid_block.attentions.0"]


@pytest.mark.usefixtures("_diffusers")
def test_time_is_coded_as_diffusers_does() -> None:
    from diffusers.models.embeddings import Timesteps

    t = torch.tensor([0.0, 0.25, 500.0, 999.0])
    expected = Timesteps(16, flip_sin_to_cos=True, downscale_freq_shift=0)(t)
    torch.testing.assert_close(Code(16)(t), expected, atol=1e-4, rtol=1e-5)
    assert Code(16)(t.double()).dtype == torch.float64

"""Captions as word ids: what of them reaches the network, and what does not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import gelu, layer_norm

from backbones import MMDiT
from backbones.initialisation import initialise
from backbones.layers.positions import grid_positions
from backbones.layers.text import TEXT_RULES, CaptionEncoder

IDS = torch.tensor([[3, 1, 2, 0, 0], [4, 4, 1, 2, 3], [0, 0, 0, 0, 0]])


@pytest.fixture
def spec(make_spec: Any) -> Any:
    return make_spec((1, 4, 4), context=(5, 8), pooled=8, vocabulary=6)


def encoder_of(spec: Any) -> CaptionEncoder:
    wrapped = torch.nn.ModuleDict({"text_encoder": CaptionEncoder(spec)})
    initialise(wrapped, TEXT_RULES, 0)
    encoder = wrapped["text_encoder"]
    assert isinstance(encoder, CaptionEncoder)
    return encoder


def test_words_become_tokens_and_padding_is_masked(spec: Any) -> None:
    found = encoder_of(spec)({"context": IDS}, torch.zeros(3, 1, 4, 4))
    assert found["context"].shape == (3, 5, 8)
    assert found["context_mask"].tolist() == [
        [True, True, True, False, False], [True] * 5, [True, False, False, False, False],
    ]  # fmt: skip
    mean = found["context"][0, :3].mean(0)
    torch.testing.assert_close(found["pooled"][0], mean)
    assert found["pooled"].isfinite().all()


def test_padding_changes_no_word(make_spec: Any) -> None:
    """What stands in front of the padding is the same however much of it there is."""
    long, short = (make_spec((1, 4, 4), context=(n, 8), pooled=8, vocabulary=6) for n in (5, 3))
    longer, shorter = encoder_of(long), encoder_of(short)
    z = torch.zeros(1, 1, 4, 4)
    a, b = longer({"context": IDS[:1]}, z), shorter({"context": IDS[:1, :3]}, z)
    torch.testing.assert_close(a["context"][:, :3], b["context"])
    torch.testing.assert_close(a["pooled"], b["pooled"])


def test_order_and_every_word_matter(spec: Any) -> None:
    encoder, z = encoder_of(spec), torch.zeros(2, 1, 4, 4)
    swapped = torch.tensor([[3, 1, 2, 0, 0], [1, 3, 2, 0, 0]])
    pooled = encoder({"context": swapped}, z)["pooled"]
    assert (pooled[0] - pooled[1]).abs().max() > 1e-3


def test_the_encoder_is_its_formula(make_spec: Any) -> None:
    torch.manual_seed(0)
    encoder = encoder_of(make_spec((1,), context=(3, 4), pooled=4, vocabulary=5)).double()
    p = {name.removeprefix("encoders.0."): value for name, value in encoder.named_parameters()}
    with torch.no_grad():
        for parameter in p.values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    ids = torch.tensor([[2, 4, 0]])

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return layer_norm(x, (4,), p[f"{name}.weight"], p[f"{name}.bias"])

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    x = p["words.weight"][ids] + grid_positions((3,), 4, device=torch.device("cpu"), dtype=torch.float64)
    for block in ("blocks.0", "blocks.1"):
        q, k, v = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv").split(4, dim=2)
        weights = torch.softmax((q @ k.mT / 2)[..., :2], dim=-1)
        x = x + linear(weights @ v[:, :2], f"{block}.attn.proj")
        x = x + linear(
            gelu(linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1"), approximate="tanh"), f"{block}.mlp.fc2"
        )
    found = encoder({"context": ids}, torch.zeros(1, 1).double())
    torch.testing.assert_close(found["context"], norm(x, "norm"))


def test_every_section_has_an_encoder_of_its_own(make_spec: Any) -> None:
    spec = make_spec((1, 4, 4), context=(6, 8), pooled=16, vocabulary=6, sections=(3, 3))
    encoder, z = encoder_of(spec), torch.zeros(1, 1, 4, 4)
    found = encoder({"context": torch.tensor([[3, 1, 0, 3, 1, 0]])}, z)
    assert found["context_mask"].tolist() == [[True, True, False, True, True, False]]
    assert not torch.allclose(found["context"][:, :3], found["context"][:, 3:])
    other = encoder({"context": torch.tensor([[3, 1, 0, 2, 5, 4]])}, z)
    torch.testing.assert_close(other["context"][:, :3], found["context"][:, :3])
    torch.testing.assert_close(other["pooled"][:, :8], found["pooled"][:, :8])


def test_a_network_takes_ids_and_nothing_that_comes_from_them(spec: Any) -> None:
    network = MMDiT(spec, patch=2, width=16, depth=1, heads=2)
    z, t = torch.zeros(3, 1, 4, 4), torch.zeros(3)
    for wrong, reason in (
        ({"context": IDS, "pooled": torch.zeros(3, 8)}, "has pooled; with captions it holds context"),
        ({"drop": torch.ones(3, dtype=torch.bool)}, "lacks context"),
        ({"context": torch.zeros(3, 5, 8)}, r"takes word ids, torch.int64 \(3, 5\)"),
        ({"context": IDS[:, :4]}, r"int64 \(3, 4\); this backbone takes word ids, torch.int64 \(3, 5\)"),
    ):
        with pytest.raises(ValueError, match=reason):
            network(z, t, wrong)


def test_impossible_encoders_are_refused(make_spec: Any) -> None:
    with pytest.raises(ValueError, match="pooled is 8; what 2 text encoders of width 8 give is 16 wide, or 0"):
        CaptionEncoder(make_spec((1,), context=(6, 8), pooled=8, vocabulary=6, sections=(3, 3)))
    with pytest.raises(ValueError, match="width=7"):
        CaptionEncoder(make_spec((1,), context=(6, 7), pooled=7, vocabulary=6))

"""Initial values follow (seed, name) alone and the published rules."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from backbones import DiT, MMDiT, UViT
from backbones.initialisation import generator_of, initialise, normal, zeros


def test_the_same_seed_gives_the_same_values(case: Any) -> None:
    first, second = case.build(step=True, seed=5).state_dict(), case.build(step=True, seed=5).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = case.build(step=True, seed=6).state_dict()
    drawn = [name for name in first if first[name].unique().numel() > 2]
    assert drawn
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


def test_torch_random_state_does_not_enter_and_is_not_advanced(case: Any) -> None:
    network = case.build()
    before = torch.get_rng_state()
    network.initialise(1)
    assert torch.equal(before, torch.get_rng_state())


def test_shared_parameters_share_their_start(make_spec: Any) -> None:
    """The same name, shape and rule give the same values, whatever else the network holds."""
    spec = make_spec((1, 8, 8), classes=10)
    networks = [DiT(spec, depth=2), DiT(spec, depth=5, step=True), DiT(spec, depth=2, heads=4), MMDiT(spec, width=96)]
    for network in networks:
        network.initialise(7)
    states = [network.state_dict() for network in networks]
    for other in states[1:]:
        shared = [name for name in states[0] if name in other and states[0][name].shape == other[name].shape]
        assert {"x_embedder.proj.weight", "t_embedder.mlp.0.weight"} <= set(shared)
        assert all(torch.equal(states[0][name], other[name]) for name in shared)


def test_values_are_fixed_for_good() -> None:
    """A change of the seeding would change every run: first draws, written down."""
    draw = torch.rand(2, generator=generator_of(0, "a.weight"))
    assert draw.tolist() == pytest.approx([0.70284694, 0.53783804], abs=1e-7)


def test_dit_follows_its_paper(make_spec: Any) -> None:
    network = DiT(make_spec((4, 16, 16), classes=50), step=True, width=192, patch=2)
    network.initialise(0)
    state = network.state_dict()
    gates = ("adaLN_modulation.1.", "final_layer.linear.", "step_embedder.mlp.2.")
    for name, value in state.items():
        if any(gate in name for gate in gates) or name.endswith("bias"):
            assert not value.any(), name
    for name in ("t_embedder.mlp.0.weight", "t_embedder.mlp.2.weight", "y_embedder.embedding_table.weight"):
        assert state[name].std().item() == pytest.approx(0.02, rel=0.05)
    for name, fans in (("blocks.0.attn.qkv.weight", 192 * 4), ("blocks.1.mlp.fc1.weight", 192 * 5)):
        assert state[name].abs().max().item() == pytest.approx(math.sqrt(6 / fans), rel=1e-3)
    fans = 4 * 2 * 2 + 192
    assert state["x_embedder.proj.weight"].abs().max().item() == pytest.approx(math.sqrt(6 / fans), rel=1e-3)


@pytest.mark.parametrize(("width", "std"), [(192, 0.02 * math.sqrt(512 / 192)), (512, 0.02), (768, 0.02)])
def test_uvit_follows_its_code(make_spec: Any, width: int, std: float) -> None:
    network = UViT(make_spec((4, 16, 16), classes=50), width=width, patch=2)
    network.initialise(0)
    state = network.state_dict()
    for name in ("pos_embed", "in_blocks.0.attn.qkv.weight", "out_blocks.0.skip_linear.weight"):
        assert state[name].std().item() == pytest.approx(std, rel=0.05)
    assert state["label_emb.weight"].std().item() == pytest.approx(1.0, rel=0.05)
    assert state["patch_embed.proj.weight"].abs().max().item() == pytest.approx(1 / 4, rel=1e-3)
    assert (state["mid_block.norm1.weight"] == 1).all()
    assert not state["decoder_pred.weight"].any()
    image = torch.randn(1, 4, 16, 16)
    torch.testing.assert_close(network.final_layer(image), image)


def test_meta_parameters_are_refused() -> None:
    with torch.device("meta"):
        module = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="weight is on the meta device"):
        initialise(module, (("*", zeros),), 0)


def test_the_first_matching_rule_counts() -> None:
    module = nn.Linear(3, 4)
    initialise(module, (("*bias", zeros), ("*", normal(2.0))), 0)
    assert not module.bias.any()
    assert module.weight.all()
    with pytest.raises(AssertionError, match="no initialisation rule for bias"):
        initialise(module, (("weight", zeros),), 0)

"""Our DiT and MM-DiT against diffusers', with the same weights: outputs, gradients, tables and sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from backbones.pretrained import LAYOUTS, Layout, Sizes, to_ours, to_theirs
from backbones.pretrained.rows import Row

diffusers = pytest.importorskip("diffusers", reason="pip install 'fewstep[test]' brings diffusers")

NAMES = ("diffusers-dit", "diffusers-sd3")
UNREAD = ("joint_blocks.1.context_block.attn.ln_q.weight",)
"""Nothing reads what the last block's context tokens attend to: their queries have no gradient."""
TIMES = torch.tensor([0.001, 0.37, 0.9995])


def peer_of(layout: Layout, network: Any) -> Any:
    """diffusers' network with the weights of ours; its own state dict has exactly the names that we write."""
    config = layout.config(network)
    assert config is not None
    peer = getattr(diffusers, config["_class_name"])(**{k: v for k, v in config.items() if not k.startswith("_")})
    peer.load_state_dict(to_theirs(layout, network, network.state_dict()), strict=True)
    return peer.eval()


def answer(peer: Any, name: str, z: Tensor, t: Tensor, condition: dict[str, Tensor]) -> Tensor:
    """What diffusers' network gives; its learned variance is left out."""
    if name == "diffusers-dit":
        return peer(z, timestep=1000 * t - 1, class_labels=condition["label"]).sample[:, : z.shape[1]]
    context, pooled = condition["context"], condition["pooled"]
    return peer(z, encoder_hidden_states=context, pooled_projections=pooled, timestep=1000 * t).sample


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_within_1e_5_of_the_largest(case_of: Any, inputs: Any, name: str) -> None:
    case = case_of(name)
    network = case.build()
    peer = peer_of(LAYOUTS[name], network)
    z, _, condition = inputs(case.sizes)
    with torch.no_grad():
        own, theirs = network(z, TIMES, condition), answer(peer, name, z, TIMES, condition)
    assert float((own - theirs).abs().max()) < 1e-5 * float(theirs.abs().max())


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_within_1e_4_of_the_largest(case_of: Any, inputs: Any, name: str) -> None:
    case, layout = case_of(name), LAYOUTS[name]
    network = case.build()
    peer = peer_of(layout, network)
    z, _, condition = inputs(case.sizes)
    towards = torch.randn(z.shape, generator=torch.Generator().manual_seed(2))
    (network(z, TIMES, condition) * towards).sum().backward()
    (answer(peer, name, z, TIMES, condition) * towards).sum().backward()
    theirs = {key: parameter.grad for key, parameter in peer.named_parameters()}
    own = dict(network.named_parameters())
    for row in layout.rows(network):
        wanted, given = gathered(row, theirs), own[row.ours].grad
        assert given is not None, row.ours
        largest = float(wanted.abs().max())
        assert (largest > 0) == (row.ours not in UNREAD), row.ours
        assert float((given - wanted).abs().max()) <= 1e-4 * largest, row.ours


def gathered(row: Row, theirs: dict[str, Any]) -> Tensor:
    """The gradient of ours that theirs make: that of copies is the sum of theirs; what is never used has none."""
    if row.form == "copies":
        return torch.stack([theirs[key] for key in row.theirs if theirs[key] is not None]).sum(0)
    return row.read([theirs[key] for key in row.theirs])


def test_sd3_crops_its_positions_to_any_aspect_ratio(case_of: Any, inputs: Any) -> None:
    case = case_of("diffusers-sd3")
    network = case.build()
    peer = peer_of(LAYOUTS["diffusers-sd3"], network)
    _, _, condition = inputs(case.sizes)
    wide = torch.randn(3, 4, 4, 12, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        own, theirs = network(wide, TIMES, condition), answer(peer, "diffusers-sd3", wide, TIMES, condition)
    assert own.shape == wide.shape
    assert float((own - theirs).abs().max()) < 1e-5 * float(theirs.abs().max())


@pytest.mark.parametrize("name", NAMES)
def test_what_diffusers_initialises_comes_here_and_goes_back_bit_for_bit(case_of: Any, name: str) -> None:
    """With their own table of positions, and sizes from their config alone."""
    case, layout = case_of(name), LAYOUTS[name]
    config = layout.config(case.laid_out())
    torch.manual_seed(0)
    peer = getattr(diffusers, config["_class_name"])(**{k: v for k, v in config.items() if not k.startswith("_")})
    theirs = peer.state_dict()
    if name == "diffusers-dit":  # each block begins with its own embedding; trained weights are copies
        first = {key: tensor for key, tensor in theirs.items() if ".0.norm1.emb." in key}
        theirs |= {key.replace(".0.norm1.", ".1.norm1."): tensor for key, tensor in first.items()}
    found = layout.read(theirs, dict(peer.config))
    assert found.asked == {}
    with torch.device("meta"):
        network = case.cls(found.sizes(), **found.options)
    again = to_theirs(layout, network, to_ours(layout, network, theirs))
    assert set(again) == set(theirs)
    for key, tensor in theirs.items():
        assert torch.equal(again[key], tensor), key
    assert found.sizes() == Sizes(**{**vars(case.sizes), "context": found.context})


def test_other_frequencies_are_another_network(case_of: Any, inputs: Any) -> None:
    """DiT's own time code in place of diffusers' moves the output: the option is what makes them equal."""
    case = case_of("diffusers-dit")
    peer = peer_of(LAYOUTS["diffusers-dit"], case.build())
    plain = case.cls(case.sizes, **{**case.options, "frequency_shift": 0})
    plain.load_state_dict(case.build().state_dict())
    z, _, condition = inputs(case.sizes)
    with torch.no_grad():
        own, theirs = plain(z, TIMES, condition), answer(peer, "diffusers-dit", z, TIMES, condition)
    assert float((own - theirs).abs().max()) > 1e-2 * float(theirs.abs().max())

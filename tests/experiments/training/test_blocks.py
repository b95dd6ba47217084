"""What is divided, and computed again, block by block, in networks that are conditioned on text or labels."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from backbones import Backbone, CrossDiT, DiT, MMDiT, UViT
from backbones.conformance.common import KitSpec, condition
from backbones.simple_uvit import SimpleUViT
from backbones.unet import UNet
from experiments.training.blocks import blocks, recompute
from experiments.training.sharding import divide, whole

SIZE: dict[str, Any] = {"patch": 2, "width": 16, "depth": 2, "heads": 2}
NETWORKS: dict[str, partial[Backbone]] = {
    "dit": partial(DiT, **SIZE),
    "crossdit": partial(CrossDiT, shared_adaln=True, **SIZE),
    "u-vit": partial(UViT, **SIZE),
    "mmdit": partial(MMDiT, sets=3, qk_norm=True, self_attention=(0,), **SIZE),
    "simpleuvit": partial(SimpleUViT, channels=(8,), width=16, depth=2, heads=2),
    "unet": partial(UNet, channels=(8, 16), head_width=8),
}
BLOCKS = {"u-vit": 3, "simpleuvit": 2 + 2 + 2, "unet": 2 + 3 + 2}
"""Of the others there are two. SimpleUViT: residual blocks, joining layers, transformer; UNet: down, middle, up."""
SPEC = KitSpec((1, 4, 6), num_classes=3, context=(5, 7), pooled=6, sections=(2, 3))
WITHOUT_TEXT = KitSpec((1, 4, 6), num_classes=3, pooled=6)


@pytest.fixture
def mesh() -> Iterator[DeviceMesh]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Backbone:
    if request.param == "unet":
        pytest.importorskip("diffusers", reason="pip install 'fewstep[unet]'")
    built = NETWORKS[request.param](WITHOUT_TEXT if request.param == "unet" else SPEC, step=True)
    built.initialise(0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return built


def gradients(network: Backbone) -> tuple[Tensor, dict[str, Tensor]]:
    """The output for a condition with masked tokens and dropped rows, and the gradient of its mean square."""
    generator = torch.Generator().manual_seed(1)
    z, t = torch.randn(4, 1, 6, 4, generator=generator), torch.rand(4, generator=generator)
    given = {**(condition(network.spec, 4, generator) or {}), "drop": torch.tensor([False, True, False, False])}
    out = network(z, t, given, t)
    out.square().mean().backward()
    return out, {name: whole(p.grad) for name, p in network.named_parameters() if p.grad is not None}


def same(one: tuple[Tensor, dict[str, Tensor]], other: tuple[Tensor, dict[str, Tensor]]) -> None:
    assert torch.equal(one[0], other[0])
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        torch.testing.assert_close(gradient, other[1][name])


def test_every_block_is_found(network: Backbone) -> None:
    found = blocks(network)
    name = next(name for name, make in NETWORKS.items() if make.func is type(network))
    assert len(found) == BLOCKS.get(name, 2)
    inside = {id(parameter) for block in found for parameter in block.parameters()}
    assert {name for name, p in network.named_parameters() if "block" in name and id(p) not in inside} <= {
        "t_block.1.weight",
        "t_block.1.bias",
    }


def test_blocks_that_are_computed_again_give_the_same(network: Backbone) -> None:
    again = copy.deepcopy(network)
    recompute(again)
    same(gradients(again), gradients(network))


def test_blocks_that_are_divided_give_the_same(network: Backbone, mesh: DeviceMesh) -> None:
    apart = copy.deepcopy(network)
    divide(apart, mesh)
    same(gradients(apart), gradients(network))

"""What the base class itself does; what holds for every backbone is in its conformance kit."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import backbones


def test_output_has_the_dtype_of_z(case: Any, no_grad: None) -> None:
    """A float64 sampler may call a float32 or bfloat16 network; a float64 network computes in float64."""
    z, t, condition = case.inputs()
    network = case.build(opened=True)
    single = network(z, t, condition)
    double = network(z.double(), t.double(), condition)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, atol=1e-4, rtol=1e-3)
    assert copy.deepcopy(network).bfloat16()(z, t, condition).dtype == torch.float32
    network.double()
    torch.testing.assert_close(network(z.double(), t, condition).float(), single, atol=1e-4, rtol=1e-3)


def test_tiny_defaults_fit_the_embedded_data(make_spec: Any) -> None:
    """The bare family names cost alike on 8×8 digits, and take 28×28 ones."""
    costs = {}
    for cls in (backbones.DiT, backbones.UViT, backbones.MMDiT, backbones.CrossDiT):
        network = cls(make_spec((1, 8, 8), classes=10))
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 1, 8, 8), torch.zeros(1))
        costs[cls.__name__] = counter.get_total_flops()
        network = cls(make_spec((1, 28, 28), classes=10))
        assert network(torch.zeros(1, 1, 28, 28), torch.zeros(1)).shape == (1, 1, 28, 28)
    assert max(costs.values()) < 1.5 * min(costs.values()), costs

"""What the base class itself does; what holds for every backbone is in its conformance kit."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import backbones


def steps(batch: int, size: float = 0.25) -> torch.Tensor:
    return torch.full((batch,), size)


@pytest.mark.parametrize("opened", [True, False])
def test_a_flow_network_that_is_given_a_step_embedding_begins_as_itself(case: Any, opened: bool, no_grad: None) -> None:
    """Nothing but the step embedding is new, and the output is the same to the bit, whatever d is."""
    z, t, condition = case.inputs()
    flow, fine_tuned = case.build(opened=opened), case.build(step=True, seed=4)
    found = fine_tuned.load_state_dict(flow.state_dict(), strict=False)
    assert found.unexpected_keys == []
    new = [name for name, _ in fine_tuned.named_parameters() if name.startswith("step_embedder.")]
    assert found.missing_keys == new
    assert len(new) == 4
    expected = flow(z, t, condition)
    for d in (0.0, 1 / 65536, 1 / 128, 1 / 3, 0.5, 0.995, 1.0):
        assert torch.equal(fine_tuned(z, t, condition, steps(len(z), d)), expected)
    for dtype in (torch.float64, torch.bfloat16):
        wide, narrow = fine_tuned.to(dtype), flow.to(dtype)
        assert torch.equal(wide(z.to(dtype), t, condition, steps(len(z))), narrow(z.to(dtype), t, condition))


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

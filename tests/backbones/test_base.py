"""What holds for every backbone, whatever its family and condition."""

from __future__ import annotations

import copy
import typing
from typing import Any

import pytest
import torch
from torch.nn.functional import mse_loss
from torch.utils.flop_counter import FlopCounterMode

import backbones
from backbones.spec import parts_of


def steps(batch: int, size: float = 0.25) -> torch.Tensor:
    return torch.full((batch,), size)


def test_output_is_zero_at_the_start(case: Any) -> None:
    z, t, condition = case.inputs()
    output = case.build(step=True)(z, t, condition, steps(len(z)))
    assert output.shape == z.shape
    assert torch.count_nonzero(output) == 0
    assert torch.count_nonzero(case.build(step=True, opened=True)(z, t, condition, steps(len(z)))) == z.numel()


def test_rows_are_independent(case: Any, no_grad: None) -> None:
    z, t, condition = case.inputs()
    network = case.build(opened=True)
    whole = network(z, t, condition)
    rows = torch.tensor([4, 1])
    part = network(z[rows], t[rows], {k: v[rows] for k, v in condition.items()} if condition else None)
    torch.testing.assert_close(part, whole[rows], atol=1e-5, rtol=1e-5)


def test_time_and_input_and_position_matter(case: Any, no_grad: None) -> None:
    z, t, condition = case.inputs()
    network = case.build(opened=True)
    output = network(z, t, condition)
    for other in (network(z, 1 - t, condition), network(z.flip(-1), t, condition).flip(-1)):
        assert ((other - output).flatten(1).abs().amax(1) > 1e-3).all()


def test_dropped_rows_are_null_rows(case: Any, no_grad: None) -> None:
    z, t, condition = case.inputs()
    network = case.build(opened=True)
    null = network(z, t, None)
    if condition is None:
        return
    drop = torch.tensor([True, False, True, False, False, True])
    mixed = network(z, t, {**condition, "drop": drop})
    kept = network(z, t, condition)
    torch.testing.assert_close(mixed[drop], null[drop])
    torch.testing.assert_close(mixed[~drop], kept[~drop])
    assert ((kept - null).flatten(1).abs().amax(1) > 1e-3).all()


def test_parts_are_dropped_one_by_one(case: Any, no_grad: None) -> None:
    z, t, condition = case.inputs()
    parts = parts_of(case.spec)
    network = case.build(opened=True)
    if condition is None:
        return
    drop = torch.zeros(len(z), len(parts), dtype=torch.bool)
    all_kept = network(z, t, condition)
    for column in range(len(parts)):
        one = network(z, t, {**condition, "drop": drop | (torch.arange(len(parts)) == column)})
        assert ((one - all_kept).flatten(1).abs().amax(1) > 1e-4).all()
    torch.testing.assert_close(network(z, t, {**condition, "drop": ~drop}), network(z, t, None))


def test_every_parameter_gets_a_gradient(case: Any) -> None:
    z, t, condition = case.inputs()
    network = case.build(step=True, opened=True)
    if condition:
        condition["drop"] = torch.arange(len(z)) % 2 == 0
    mse_loss(network(z, t, condition, steps(len(z))), torch.randn_like(z)).backward()
    last = f"joint_blocks.{case.options['depth'] - 1}.context_block.attn.ln_q.weight"  # nothing reads these queries
    without = [
        name
        for name, parameter in network.named_parameters()
        if name != last and (parameter.grad is None or not parameter.grad.any())
    ]
    assert without == []


def test_gradients_exist_without_condition_too(case: Any) -> None:
    """DistributedDataParallel waits for every parameter: none may fall out of the graph when nothing is dropped."""
    z, t, condition = case.inputs()
    for given in (condition, None):
        network = case.build(opened=True)
        network(z, t, given).square().mean().backward()
        assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_step_is_used_where_it_was_asked_for(case: Any, no_grad: None) -> None:
    z, t, condition = case.inputs()
    network = case.build(step=True, opened=True)
    outputs = [network(z, t, condition, steps(len(z), d)) for d in (0.0, 1 / 128, 1 / 64, 0.5, 1.0)]
    for i, output in enumerate(outputs):
        assert output.isfinite().all()
        for other in outputs[:i]:
            assert ((output - other).flatten(1).abs().amax(1) > 1e-4).all()
    with pytest.raises(ValueError, match="built with step=True"):
        network(z, t, condition)
    without = case.build(step=False)
    assert not any("step" in name for name, _ in without.named_parameters())
    with pytest.raises(ValueError, match="built with step=False"):
        without(z, t, condition, steps(len(z)))


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


def test_compiles_without_a_graph_break(case: Any) -> None:
    torch.compiler.reset()
    z, t, condition = case.inputs()
    network = case.build(step=True, opened=True)
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    if condition:
        condition["drop"] = torch.arange(len(z)) % 2 == 0
    expected = network(z, t, condition, steps(len(z)))
    torch.testing.assert_close(compiled(z, t, condition, steps(len(z))), expected)
    torch.compiler.reset()


def test_bfloat16_autocast_is_close_to_float32(case: Any) -> None:
    z, t, condition = case.inputs()
    network = case.build(step=True, opened=True)
    exact = network(z, t, condition, steps(len(z)))
    with torch.autocast("cpu", torch.bfloat16):
        output = network(z, t, condition, steps(len(z)))
    assert output.dtype == z.dtype
    assert output.isfinite().all()
    assert (output - exact).norm() < 3e-2 * exact.norm()
    output.square().mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


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


def test_no_buffers_and_meta_build(case: Any) -> None:
    with torch.device("meta"):
        planned = case.cls(case.spec, step=True, **case.options)
    assert all(parameter.is_meta for parameter in planned.parameters())
    assert list(planned.buffers()) == []
    planned.to_empty(device="cpu")
    planned.initialise(3)
    expected = case.build(step=True, seed=3).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in planned.state_dict().items())


def test_constructor_arguments_are_attributes(case: Any) -> None:
    network = case.build(step=True)
    hints = typing.get_type_hints(case.cls.__init__)
    assert network.version == 1
    assert set(hints) - {"return"} >= {"spec", "step", *case.options}
    for name in set(hints) - {"return"}:
        assert hasattr(network, name)
    assert {name: getattr(network, name) for name in case.options} == case.options
    assert network.step is True


def test_wrong_shapes_are_refused(case: Any) -> None:
    z, t, condition = case.inputs()
    network = case.build(step=True)
    d = steps(len(z))
    with pytest.raises(ValueError, match="z has shape"):
        network(z[..., :-1], t, condition, d)
    with pytest.raises(ValueError, match="t has shape"):
        network(z, t[:, None], condition, d)
    with pytest.raises(ValueError, match="step has shape"):
        network(z, t, condition, d[:1])


def test_tiny_defaults_fit_the_embedded_data(make_spec: Any) -> None:
    """The bare family names cost alike on 8×8 digits, and take 28×28 ones."""
    costs = {}
    for cls in (backbones.DiT, backbones.UViT, backbones.MMDiT):
        network = cls(make_spec((1, 8, 8), classes=10))
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 1, 8, 8), torch.zeros(1))
        costs[cls.__name__] = counter.get_total_flops()
        network = cls(make_spec((1, 28, 28), classes=10))
        assert network(torch.zeros(1, 1, 28, 28), torch.zeros(1)).shape == (1, 1, 28, 28)
    assert max(costs.values()) < 1.5 * min(costs.values()), costs

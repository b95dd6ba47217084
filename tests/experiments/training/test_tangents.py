"""The directional derivatives of every backbone."""

from __future__ import annotations

import pytest
import torch

from backbones import MLP, DiT, MMDiT, UViT
from datamodules.spec import DataSpec
from experiments.training.blocks import recompute
from objectives import SCM, Draws, MeanFlow
from objectives.tangents import along

SMALL = {"width": 16, "depth": 2, "heads": 2, "patch": 2, "time_scale": 1.0}
BACKBONES = {
    "MLP": (MLP, {"width": 16, "depth": 2, "time_scale": 1.0}),
    "DiT": (DiT, SMALL),
    "U-ViT": (UViT, SMALL),
    "MMDiT": (MMDiT, SMALL),
    "MMDiT with QK-norm": (MMDiT, {**SMALL, "qk_norm": True}),
}


def _awake(name, *, step=True):
    kind, options = BACKBONES[name]
    network, generator = kind(DataSpec(shape=(1, 4, 4), num_classes=3), step=step, **options), torch.Generator()
    generator.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network.double()


def _values(rows, shape):
    generator = torch.Generator().manual_seed(1)
    z, v = (torch.randn(rows, *shape, generator=generator, dtype=torch.float64) for _ in range(2))
    t, step = (torch.rand(rows, generator=generator, dtype=torch.float64) * 0.4 + 0.3 for _ in range(2))
    return (z, t, step), (v, torch.ones_like(t), torch.ones_like(t))


@pytest.mark.parametrize("name", BACKBONES)
def test_the_derivative_is_the_difference_quotient(name):
    network = _awake(name)
    primals, tangents = _values(3, (1, 4, 4))
    condition = {"label": torch.tensor([0, 1, 2])}

    def function(z, t, step):
        return network(z, t, condition, step)

    value, rate = along(function, primals, tangents)
    assert not value.requires_grad
    assert not rate.requires_grad
    h = 3e-5

    def at(share):
        return function(*(p + share * h * s for p, s in zip(primals, tangents, strict=True)))

    with torch.no_grad():
        quotient = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h)
        torch.testing.assert_close(value, at(0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(rate, quotient, rtol=1e-6, atol=1e-6)
    assert float(rate.abs().max()) > 0.01


@pytest.mark.parametrize("objective", [MeanFlow(), SCM(warmup=0.0)], ids=lambda objective: objective.notation)
def test_activation_checkpointing_changes_nothing(objective):
    """The derivative asks for no gradient, so that blocks are not computed again for it."""
    x = torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    condition = {"label": torch.arange(8) % 3}

    def gradients(prepare):
        network = _awake("DiT", step=objective.needs.step)
        prepare(network)
        loss = objective.loss(network, x, condition, Draws(0, 0, torch.arange(8)), progress=0.5)
        return torch.autograd.grad(loss.per_sample.mean(), list(network.parameters()))

    for one, other in zip(gradients(recompute), gradients(lambda network: None), strict=True):
        assert bool(one.any())
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)

"""Directional derivatives: without a gradient, whatever the network is wrapped in."""

from __future__ import annotations

import torch

from objectives.conformance.objectives import TinyNetwork
from objectives.tangents import along


def _values(rows):
    generator = torch.Generator().manual_seed(1)
    z, v = (torch.randn(rows, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    t, step = (torch.rand(rows, generator=generator, dtype=torch.float64) * 0.4 + 0.3 for _ in range(2))
    return (z, t, step), (v, torch.ones_like(t), torch.ones_like(t))


def test_autocast_does_not_reach_the_derivative():
    network = TinyNetwork()
    primals, tangents = ([v.float() for v in values] for values in _values(4))
    plain = along(lambda z, t, step: network(z, t, None, step), primals, tangents)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = along(lambda z, t, step: network(z, t, None, step), primals, tangents)
    assert all(torch.equal(one, other) for one, other in zip(plain, mixed, strict=True))


def test_what_is_compiled_is_derived_uncompiled():
    """Compiled code takes no tangents; that it is called here at all is counted by the backend."""
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    network = TinyNetwork().double()
    primals, tangents = _values(4)

    def function(z, t, step):
        return network(z, t, None, step)

    expected = along(function, primals, tangents)
    network.compile(backend=backend)
    network(primals[0], primals[1], None, primals[2])
    count = len(compiled)
    assert count > 0
    for one, other in zip(along(function, primals, tangents), expected, strict=True):
        assert torch.equal(one, other)
    assert len(compiled) == count


def test_a_function_that_does_not_depend_on_its_arguments_has_derivative_zero():
    value, rate = along(lambda z: torch.ones(3), (torch.zeros(3),), (torch.ones(3),))
    assert torch.equal(value, torch.ones(3))
    assert torch.equal(rate, torch.zeros(3))

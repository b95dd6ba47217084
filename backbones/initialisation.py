"""Initial values: each parameter from (seed, its qualified name) alone, by the first rule that its name fits.

A backbone's ``rules`` is its paper's initialisation as a table. Since nothing else enters, networks that share a
parameter (and its rule) share its start, whatever was built before or beside it and on whichever device.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Generator, Tensor, nn

Fill = Callable[[Tensor, Generator], object]
"""Fills a float32 tensor from a generator."""

Rules = Sequence[tuple[str, Fill]]
"""(pattern of qualified names, fill), the first match counts; ``*`` also matches dots."""


def zeros(values: Tensor, generator: Generator) -> None:
    """All 0."""
    nn.init.zeros_(values)


def ones(values: Tensor, generator: Generator) -> None:
    """All 1."""
    nn.init.ones_(values)


def identity(values: Tensor, generator: Generator) -> None:
    """The convolution that changes nothing: 1 at the centre of each channel's own kernel, 0 elsewhere."""
    nn.init.dirac_(values)


def xavier_uniform(values: Tensor, generator: Generator) -> None:
    """U(−r, r), r = √(6/(fan_in + fan_out)); a convolution counts as the linear layer on its patches (DiT §3.2)."""
    nn.init.xavier_uniform_(values.flatten(1), generator=generator)


def fan_in_uniform(values: Tensor, generator: Generator) -> None:
    """U(−r, r), r = 1/√fan_in, for a weight (out, in, ...): torch's own rule for convolutions."""
    bound = 1 / math.sqrt(math.prod(values.shape[1:]))
    nn.init.uniform_(values, -bound, bound, generator=generator)


def normal(std: float) -> Fill:
    """N(0, std²)."""

    def fill(values: Tensor, generator: Generator) -> None:
        nn.init.normal_(values, std=std, generator=generator)

    return fill


def truncated_normal(std: float) -> Fill:
    """N(0, std²) restricted to [−2, 2]."""

    def fill(values: Tensor, generator: Generator) -> None:
        nn.init.trunc_normal_(values, std=std, generator=generator)

    return fill


ADALN_ZERO: Rules = (
    ("*adaLN_modulation.1.*", zeros),
    ("final_layer.linear.*", zeros),
    ("step_embedder.mlp.2.*", zeros),
    ("*null*", zeros),
    ("*_embedder.mlp.*.weight", normal(0.02)),
    ("*.embedding_table.weight", normal(0.02)),
    ("*.bias", zeros),
    ("*.weight", xavier_uniform),
)
"""DiT's (§3.2): blocks start as the identity, the last layer at zero; a step, and null, start silent."""


def generator_of(seed: int, name: str) -> Generator:
    """A CPU generator that is a function of the seed and the qualified name alone, on every machine."""
    digest = hashlib.sha256(f"{seed}\n{name}".encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@torch.no_grad()
def initialise(module: nn.Module, rules: Rules, seed: int) -> None:
    """Give every parameter of ``module`` its initial value.

    Values are drawn in float32 on the CPU and then copied, so that they do not depend on the device.

    Raises:
        ValueError: a parameter on the meta device, which can hold no value.
    """
    for name, parameter in module.named_parameters():
        if parameter.is_meta:
            raise ValueError(f"{name} is on the meta device and can hold no value; call to_empty(device=...) first")
        parameter.copy_(initial_value(name, parameter.shape, rules, seed))


@torch.no_grad()
def initial_value(name: str, shape: Sequence[int], rules: Rules, seed: int) -> Tensor:
    """The initial value of the parameter of this name and shape: float32, on the CPU."""
    values = torch.empty(*shape, dtype=torch.float32, device="cpu")
    fill = next((fill for pattern, fill in rules if fnmatchcase(name, pattern)), None)
    assert fill is not None, f"no initialisation rule for {name}"
    fill(values, generator_of(seed, name))
    return values

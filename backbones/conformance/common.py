"""What the kit's tests share: data of every kind of condition, networks with all gates open, inputs that fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import HealthCheck, settings
from torch import Generator, Tensor

from backbones.base import Backbone
from backbones.spec import Spec, inputs_of

QUIET = [HealthCheck.differing_executors, HealthCheck.too_slow]
SOME = settings(derandomize=True, deadline=None, max_examples=12, suppress_health_check=QUIET)
FEW = settings(derandomize=True, deadline=None, max_examples=3, suppress_health_check=QUIET)
BATCH = 6


@dataclass(frozen=True)
class KitSpec:
    """The shape of a sample and of its condition (see :class:`backbones.spec.Spec`)."""

    shape: tuple[int, ...]
    num_classes: int = 0
    context: tuple[int, int] | None = None
    pooled: int = 0
    sections: tuple[int, ...] = ()
    vocabulary: int = 0
    data_std: float = 1.0


Given = dict[str, Tensor] | None


@dataclass(frozen=True)
class Case:
    """A network in float64, every parameter moved off its initial value, and inputs: no row's condition dropped."""

    network: Backbone
    z: Tensor
    t: Tensor
    condition: Given
    step: Tensor | None

    def __call__(self, **changed: Any) -> Tensor:
        """The output (B, ...), with some of z, t, condition and step changed."""
        given: dict[str, Any] = {"z": self.z, "t": self.t, "condition": self.condition, "step": self.step, **changed}
        return self.network(given["z"], given["t"], given["condition"], given["step"])


@torch.no_grad()
def opened(network: Backbone, seed: int) -> Backbone:
    """The network in float64 with noise on every parameter, so that no gate and no null is zero."""
    network.initialise(seed)
    generator = Generator().manual_seed(seed)
    for parameter in network.double().parameters():
        parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return network


def case(network: Backbone, seed: int, *, shape: tuple[int, ...] | None = None, batch: int = BATCH) -> Case:
    """A network that is not initialised yet, opened, with random inputs of its data's shape or another."""
    opened(network, seed)
    generator = Generator().manual_seed(seed + 1)
    z = torch.randn(batch, *(shape or network.spec.shape), generator=generator, dtype=torch.float64)
    t = torch.rand(batch, generator=generator, dtype=torch.float64)
    step = 0.5 ** torch.arange(batch, dtype=torch.float64) if network.step else None
    return Case(network, z, t, condition(network.spec, batch, generator), step)


def condition(spec: Spec, batch: int, generator: Generator) -> Given:
    """A random condition in which every row has context tokens, and some have masked ones among them."""
    given: dict[str, Tensor] = {}
    for name, (shape, whole) in inputs_of(spec).items():
        below = spec.num_classes if name == "label" else max(spec.vocabulary, 2)
        given[name] = (
            torch.randint(int(name != "label"), below, (batch, *shape), generator=generator)
            if whole
            else torch.randn(batch, *shape, generator=generator, dtype=torch.float64)
        )
    if spec.context is not None:
        mask = torch.rand(batch, spec.context[0], generator=generator) < 0.6
        mask = mask | (torch.arange(spec.context[0]) == torch.arange(batch)[:, None] % spec.context[0])
        if spec.vocabulary:
            given["context"] = given["context"].where(mask, 0)
        else:
            given["context_mask"] = mask
    return given or None


def rows(given: Given, some: Tensor) -> Given:
    """The condition of some rows."""
    return None if given is None else {name: value[some] for name, value in given.items()}


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-8) -> None:
    """Raise AssertionError unless equal within a relative and absolute tolerance."""
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def differs(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs (B, ...) differ in every row by more than rounding."""
    return bool(((one - other).flatten(1).abs().amax(1) > 1e-6).all())


def refused(call: Callable[..., object], **given: object) -> str:
    """The message of the ValueError that a call with these arguments raises; AssertionError if it raises none."""
    try:
        call(**given)
    except ValueError as error:
        return str(error)
    raise AssertionError(f"not refused: {', '.join(given)}")


def constructor(given: Mapping[str, object]) -> set[str]:
    """The options among a constructor's type hints."""
    return set(given) - {"return", "spec", "step"}

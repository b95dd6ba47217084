"""One case per family and kind of condition, small enough to be built anew in every test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from backbones import MLP, Backbone, DiT, MMDiT, UViT


def make_spec(
    shape: tuple[int, ...],
    *,
    classes: int = 0,
    context: Any = None,
    pooled: int = 0,
    vocabulary: int = 0,
    sections: Any = (),
) -> Any:
    return SimpleNamespace(
        shape=shape, num_classes=classes, context=context, pooled=pooled, vocabulary=vocabulary, sections=sections,
        data_std=1.0,
    )  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A family with the data it is built for, and inputs that fit."""

    cls: type[Backbone]
    spec: Any
    options: dict[str, Any] = field(default_factory=dict)

    def build(self, *, step: bool = False, seed: int = 0, opened: bool = False) -> Backbone:
        """The network; ``opened`` moves every parameter off its initial value, zeros and gates included."""
        network = self.cls(self.spec, step=step, **self.options)
        network.initialise(seed)
        if opened:
            generator = torch.Generator().manual_seed(seed)
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        return network

    def inputs(self, batch: int = 6, seed: int = 1) -> tuple[Tensor, Tensor, dict[str, Tensor] | None]:
        """z, t and a condition in which no row is dropped."""
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(batch, *self.spec.shape, generator=generator)
        t = torch.rand(batch, generator=generator)
        condition: dict[str, Tensor] = {}
        if self.spec.num_classes:
            condition["label"] = torch.randint(self.spec.num_classes, (batch,), generator=generator)
        if self.spec.context:
            condition["context"] = torch.randn(batch, *self.spec.context, generator=generator)
            condition["context_mask"] = torch.rand(batch, self.spec.context[0], generator=generator) > 0.4
        if self.spec.pooled:
            condition["pooled"] = torch.randn(batch, self.spec.pooled, generator=generator)
        return z, t, condition or None


_SMALL = {"patch": 2, "width": 16, "depth": 2, "heads": 2}
CASES = {
    "dit": Case(DiT, make_spec((1, 4, 6)), _SMALL),
    "dit-label": Case(DiT, make_spec((1, 4, 4), classes=3), _SMALL),
    "dit-sequence": Case(DiT, make_spec((2, 8), classes=3), _SMALL),
    "dit-video": Case(DiT, make_spec((2, 2, 4, 4), classes=3), {**_SMALL, "width": 24}),
    "uvit": Case(UViT, make_spec((2, 4, 6)), _SMALL),
    "uvit-label": Case(UViT, make_spec((1, 4, 4), classes=3), _SMALL),
    "uvit-no-conv": Case(UViT, make_spec((3, 8), classes=3), {**_SMALL, "conv": False}),
    "mmdit": Case(MMDiT, make_spec((1, 4, 6)), _SMALL),
    "mmdit-label": Case(MMDiT, make_spec((1, 4, 4), classes=3), _SMALL),
    "mmdit-text": Case(MMDiT, make_spec((1, 4, 4), context=(5, 7), pooled=6), {**_SMALL, "qk_norm": True}),
    "mmdit-all": Case(MMDiT, make_spec((1, 4, 4), classes=3, context=(5, 7), pooled=6), _SMALL),
    "mlp-points": Case(MLP, make_spec((2,), classes=3), {"width": 16, "depth": 2}),
    "mlp-image": Case(MLP, make_spec((1, 4, 4)), {"width": 16, "depth": 2}),
}


@pytest.fixture(params=CASES, scope="session")
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="session", name="make_spec")
def _make_spec() -> Any:
    return make_spec


@pytest.fixture
def no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield

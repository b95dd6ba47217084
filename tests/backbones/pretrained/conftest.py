"""One small network of each public layout, with every part that the layout can hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from backbones import Backbone, DiT, MMDiT, UViT
from backbones.pretrained import Sizes

LABELS = Sizes((4, 8, 8), num_classes=5)
TEXT = Sizes((4, 8, 8), context=(5, 7), pooled=6)
SMALL = {"patch": 2, "width": 16, "depth": 2, "heads": 2, "mlp_ratio": 4.0}
TABLE = {"max_size": 6, "position_scale": 4 / 6, "position_offset": 0.0}
SD3 = {"qk_norm": True, "self_attention": (0,), "learned_null": False, **TABLE}


@dataclass(frozen=True)
class Case:
    cls: type[Backbone]
    sizes: Sizes
    options: dict[str, Any]

    def build(self, seed: int = 0) -> Any:
        """The network with no parameter at zero."""
        network = self.cls(self.sizes, **self.options)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
        return network

    def laid_out(self) -> Any:
        with torch.device("meta"):
            return self.cls(self.sizes, **self.options)


DDPM_TIME = {"time_scale": 1000.0, "time_offset": -1.0, "learn_sigma": True}
CASES = {
    "dit": Case(DiT, LABELS, {**SMALL, **DDPM_TIME}),
    "sit": Case(DiT, LABELS, {**SMALL, "time_scale": -1.0, "time_offset": 1.0, "learn_sigma": True}),
    "uvit": Case(UViT, LABELS, {**SMALL, "conv": True}),
    "sd3": Case(MMDiT, TEXT, {**SMALL, "width": 128, **SD3}),
    "diffusers-dit": Case(DiT, LABELS, {**SMALL, **DDPM_TIME, "frequency_shift": 1, "mlp_norm_eps": 1e-5}),
    "diffusers-sd3": Case(MMDiT, TEXT, {**SMALL, **SD3}),
}


def inputs(sizes: Sizes, batch: int = 3) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """z, t and a condition with nothing dropped."""
    generator = torch.Generator().manual_seed(1)
    z, t = torch.randn(batch, *sizes.shape, generator=generator), torch.rand(batch, generator=generator)
    if sizes.context is None:
        return z, t, {"label": torch.arange(batch) % sizes.num_classes}
    context = torch.randn(batch, *sizes.context, generator=generator)
    return z, t, {"context": context, "pooled": torch.randn(batch, sizes.pooled, generator=generator)}


@pytest.fixture(scope="session")
def case_of() -> Callable[[str], Case]:
    return CASES.__getitem__


@pytest.fixture(scope="session", name="inputs")
def _inputs() -> Any:
    return inputs

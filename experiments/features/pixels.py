"""Pixels as features: the fallback where there is no network for the data."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from experiments.features.base import FeatureExtractor


class Pixels(FeatureExtractor):
    """The pixels themselves, 0 … 1, as one vector of C·H·W: needs no weights, sees no structure."""

    name: ClassVar[str] = "pixels"
    dim: ClassVar[int | None] = None

    @property
    def fingerprint(self) -> str:
        return "pixels-1"

    def forward(self, x: Tensor) -> Tensor:
        """Images uint8 (N, C, H, W) to (N, C·H·W) in [0, 1]."""
        if x.dtype != torch.uint8 or x.ndim != 4:
            raise ValueError(f"pixels takes uint8 images (N, C, H, W), but was given {x.dtype} {tuple(x.shape)}")
        return x.flatten(1).float() / 255

"""The sample's own coordinates as features: for points, where distances live in the data space itself."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from experiments.features.base import FeatureExtractor


class Coordinates(FeatureExtractor):
    """The normalised sample itself, flattened: what distances between points are measured on."""

    name: ClassVar[str] = "coordinates"
    takes: ClassVar[Literal["images", "samples"]] = "samples"
    dim: ClassVar[int | None] = None

    @property
    def fingerprint(self) -> str:
        return "coordinates-1"

    def forward(self, x: Tensor) -> Tensor:
        """Samples (N, …) to (N, D)."""
        if not x.is_floating_point() or x.ndim < 2:
            raise ValueError(f"coordinates takes real samples (N, D), but was given {x.dtype} {tuple(x.shape)}")
        return x.flatten(1).float()

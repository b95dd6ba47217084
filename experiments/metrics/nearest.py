"""Memorisation: how many samples lie closer to a training image than fresh data do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from experiments.metrics.base import Metric, SampleFeatures, distances, finite, matrices


def memorisation(train: Tensor, heldout: Tensor, fake: Tensor, percentile: float = 1.0) -> float:
    """Share of samples nearer to a training image than the given percentile of held-out images are.

    Distances are Euclidean in the space of the given features, to the nearest training row. Fresh data score
    percentile/100 in the mean, copies of training images 1, and a model whose samples lie off the data 0.

    Args:
        train: (N, D).
        heldout: (M, D); its percentile is interpolated linearly, and coarse where M is below 100/percentile.
        fake: (K, D).
        percentile: in 0 … 100.

    Returns:
        The share, in [0, 1]; NaN if some feature is not finite.

    Raises:
        ValueError: for a percentile outside 0 … 100, or features that are not matrices of one width.
    """
    if not 0 < percentile < 100:
        raise ValueError(f"percentile is {percentile}; it lies between 0 and 100")
    train, heldout, fake = matrices(train=train, heldout=heldout, fake=fake)
    if not finite(train, heldout, fake):
        return math.nan
    limit = torch.quantile(nearest_distance(heldout, train), percentile / 100)
    return float((nearest_distance(fake, train) < limit).double().mean())


def nearest_distance(points: Tensor, rows: Tensor) -> Tensor:
    """Distance from each of the points (K, D) to the nearest of the rows (N, D): (K,)."""
    return torch.cat([block.min(dim=1).values for block in distances(points, rows)])


@dataclass(frozen=True)
class Memorisation(Metric):
    """Share of samples nearer to a training image than nearly all held-out ones are; fresh data score about 0.01.

    Args:
        percentile: of the held-out images' distances that counts as too near.
    """

    percentile: float = 1.0

    columns: ClassVar[tuple[str, ...]] = ("memorisation",)

    def __post_init__(self) -> None:
        if not 0 < self.percentile < 100:
            raise ValueError(f"percentile is {self.percentile}; it lies between 0 and 100")

    def __call__(self, features: SampleFeatures) -> dict[str, float]:
        share = memorisation(features.train, features.heldout, features.fake, self.percentile)
        return {"memorisation": share}

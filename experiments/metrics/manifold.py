"""Precision and recall by nearest-neighbour manifolds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from experiments.metrics.base import Metric, SampleFeatures, distances, finite, matrices


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    """Share of fake samples on the real manifold, and of real samples on the fake one.

    A set's manifold is the union of balls about its points, each reaching to its point's k-th nearest neighbour in
    the set, border included.

    Args:
        real: (N, D).
        fake: (K, D).
        k: which neighbour sets the radius.

    Returns:
        (precision, recall), both in [0, 1]; NaN if some feature is not finite.

    Raises:
        ValueError: if k is not in 1 … min(N, K) − 1, or the features are not two matrices of one width.

    Source: Kynkäänniemi et al., Improved precision and recall metric (2019), eqs. 1 and 2.
    """
    real, fake = matrices(real=real, fake=fake)
    if not 1 <= k < min(len(real), len(fake)):
        raise ValueError(f"k is {k}; with {len(real)} real and {len(fake)} fake samples it lies in 1 … below both")
    if not finite(real, fake):
        return math.nan, math.nan
    return _covered(fake, real, k), _covered(real, fake, k)


def _covered(points: Tensor, centres: Tensor, k: int) -> float:
    """Share of `points` that lie in some ball about `centres`."""
    radii = torch.cat([block.kthvalue(k + 1, dim=1).values for block in distances(centres, centres)])
    inside = torch.cat([(block <= radii).any(dim=1) for block in distances(points, centres)])
    return float(inside.double().mean())


@dataclass(frozen=True)
class PrecisionRecall(Metric):
    """Precision and recall against the training split, by nearest-neighbour manifolds; NaN for k samples or fewer.

    Args:
        k: which neighbour sets the radius of a ball.
    """

    k: int = 3

    columns: ClassVar[tuple[str, ...]] = ("precision", "recall")

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k is {self.k}; it is at least 1")

    def __call__(self, features: SampleFeatures) -> dict[str, float]:
        if min(len(features.train), len(features.fake)) <= self.k:
            return dict.fromkeys(self.columns, math.nan)
        precision, recall = precision_recall(features.train, features.fake, self.k)
        return {"precision": precision, "recall": recall}

"""Energy distance between point sets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from experiments.metrics.base import Metric, SampleFeatures, distance, finite, matrices, unbiased_mean_difference


def energy_distance(real: Tensor, fake: Tensor) -> float:
    """2·E‖X − Y‖ − E‖X − X′‖ − E‖Y − Y′‖, unbiased (over pairs of different rows), in float64.

    Args:
        real: (N, D).
        fake: (K, D).

    Returns:
        The estimate, in units of the features; about 0 where the distributions are equal, and 0 in the mean only
        there. NaN if some feature is not finite.

    Raises:
        ValueError: if one of them is not a matrix of at least two rows, or the widths differ.

    Source: Székely & Rizzo, Energy statistics (2013), eq. 2.5 (their distance, squared).
    """
    real, fake = matrices(real=real, fake=fake)
    if not finite(real, fake):
        return math.nan
    return unbiased_mean_difference(lambda x, y: -distance(x, y), real, fake)


@dataclass(frozen=True)
class EnergyDistance(Metric):
    """Energy distance of the samples to the training and to the held-out split; for points, in their own plane."""

    columns: ClassVar[tuple[str, ...]] = ("energy_distance", "energy_distance_heldout")

    def __call__(self, features: SampleFeatures) -> dict[str, float]:
        return {
            "energy_distance": energy_distance(features.train, features.fake),
            "energy_distance_heldout": energy_distance(features.heldout, features.fake),
        }

"""Diversity: how far samples are from one another, beside how far fresh data are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from experiments.metrics.base import Metric, SampleFeatures, distance, finite, matrices, mean_over_pairs


def diversity(real: Tensor, fake: Tensor) -> float:
    """E‖Y − Y′‖ / E‖X − X′‖ over pairs of different rows, in float64.

    Args:
        real: X (N, D).
        fake: Y (K, D).

    Returns:
        1 where the samples are as far apart as the data, 0 where all are one; NaN if some feature is not finite, or
        the data are all one.

    Raises:
        ValueError: if one of them is not a matrix of at least two rows, or the widths differ.
    """
    return _ratio([_spread(real, fake)])


@dataclass(frozen=True)
class Diversity(Metric):
    """Mean distance between two samples, over that between two held-out images: 1 is as diverse as data, 0 a collapse.

    At one step it shows whether a model has learned to jump: flow matching takes each noise to the mean of the data,
    or of the class, and scores near 0. Within a class likewise, the mean over the classes that have two rows in each
    set, all classes alike: a sample that is the mean of its class is diverse over classes and not within one.
    Source: the one-step samples of flow matching in Frans et al. 2025 (shortcut models), put into a number.
    """

    columns: ClassVar[tuple[str, ...]] = ("diversity", "diversity_within_class")

    def __call__(self, features: SampleFeatures) -> dict[str, float]:
        real, fake = features.heldout, features.fake
        found = {"diversity": diversity(real, fake)}
        real_label, fake_label = features.heldout_label, features.fake_label
        if real_label is None or fake_label is None:
            return found
        classes = ((real[real_label == label], fake[fake_label == label]) for label in real_label.unique())
        spreads = [_spread(*both) for both in classes if min(map(len, both)) > 1]
        return found | {"diversity_within_class": _ratio(spreads)}


def _spread(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """Mean distances between rows: (of the data, of the samples)."""
    real, fake = matrices(real=real, fake=fake)
    if not finite(real, fake):
        return math.nan, math.nan
    return mean_over_pairs(distance, real), mean_over_pairs(distance, fake)


def _ratio(spreads: Sequence[tuple[float, float]]) -> float:
    whole = sum(real for real, _ in spreads)
    return sum(fake for _, fake in spreads) / whole if whole else math.nan

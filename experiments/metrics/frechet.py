"""Fréchet distance between Gaussians fitted to features."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from experiments.metrics.base import Metric, SampleFeatures, finite, matrices


class _Given(nn.Identity):
    """Stands where torchmetrics expects an extractor, and hands on features already computed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2·(Σ₁Σ₂)^½) of the sample means and (n − 1)-covariances, in float64.

    torchmetrics' FrechetInceptionDistance on features already computed. It accumulates Σ x·xᵀ, so both sets are
    first moved by the mean of the real one, which changes nothing but the rounding. The estimate is biased upwards,
    the more the fewer samples: compare distances at equal numbers only.

    Args:
        real: (N, D).
        fake: (K, D).

    Returns:
        The distance, in squared feature units, at least 0; NaN if some feature is not finite.

    Raises:
        ValueError: if one of them is not a matrix of at least two rows, or the widths differ.

    Source: Heusel et al., GANs trained by a two time-scale update rule (2017), eq. 6.
    """
    real, fake = matrices(real=real, fake=fake)
    if not finite(real, fake):
        return math.nan
    from torchmetrics.image.fid import FrechetInceptionDistance  # takes seconds; only computing needs it

    metric = FrechetInceptionDistance(feature=_Given(real.shape[1]))
    centre = real.mean(dim=0)
    metric.update(real - centre, real=True)
    metric.update(fake - centre, real=False)
    return max(float(metric.compute()), 0.0)


@dataclass(frozen=True)
class FrechetDistance(Metric):
    """Fréchet distance of the samples to the training and to the held-out split.

    A model that memorises wins the first alone; one that generalises is near both.
    """

    columns: ClassVar[tuple[str, ...]] = ("frechet_distance", "frechet_distance_heldout")

    def __call__(self, features: SampleFeatures) -> dict[str, float]:
        return {
            "frechet_distance": frechet_distance(features.train, features.fake),
            "frechet_distance_heldout": frechet_distance(features.heldout, features.fake),
        }

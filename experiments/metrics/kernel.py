"""Kernel distance: squared maximum mean discrepancy between sets of features."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from experiments.metrics.base import Metric, SampleFeatures, finite, matrices, unbiased_mean_difference


def kernel_distance(real: Tensor, fake: Tensor, *, degree: int = 3, coef: float = 1.0) -> float:
    """Unbiased MMD² under k(x, y) = (x·y/D + coef)^degree, over all pairs, in float64.

    torchmetrics' kernel, in blocks. Its KernelInceptionDistance averages the same estimate over random subsets of
    equal size, which costs more, varies more and depends on a seed; where subsets are the whole sets the two agree.

    Args:
        real: (N, D).
        fake: (K, D).
        degree: of the polynomial.
        coef: its constant.

    Returns:
        The estimate; about 0, and as often below as above, where the distributions are equal. NaN if some feature
        is not finite.

    Raises:
        ValueError: for a degree below 1, a negative coef, or features that are not two matrices of one width with
            at least two rows each.

    Source: Bińkowski et al., Demystifying MMD GANs (2018), §4 and eq. 4.
    """
    if degree < 1 or not coef >= 0:
        raise ValueError(f"degree is {degree}, coef is {coef}; degree is at least 1, coef at least 0")
    real, fake = matrices(real=real, fake=fake)
    if not finite(real, fake):
        return math.nan
    from torchmetrics.image.kid import poly_kernel  # takes seconds; only computing needs it

    return unbiased_mean_difference(lambda x, y: poly_kernel(x, y, degree=degree, coef=coef), real, fake)


@dataclass(frozen=True)
class KernelDistance(Metric):
    """Kernel distance of the samples to the training and to the held-out split; unbiased at any number of samples.

    Args:
        degree: of the polynomial kernel.
        coef: constant of the polynomial kernel.
    """

    degree: int = 3
    coef: float = 1.0

    columns: ClassVar[tuple[str, ...]] = ("kernel_distance", "kernel_distance_heldout")

    def __post_init__(self) -> None:
        if self.degree < 1 or not self.coef >= 0:
            raise ValueError(f"degree is {self.degree}, coef is {self.coef}; degree is at least 1, coef at least 0")

    def __call__(self, features: SampleFeatures) -> dict[str, float]:
        against = {"kernel_distance": features.train, "kernel_distance_heldout": features.heldout}
        return {
            name: kernel_distance(real, features.fake, degree=self.degree, coef=self.coef)
            for name, real in against.items()
        }

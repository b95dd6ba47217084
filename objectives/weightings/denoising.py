"""EDM's weighting of the denoising error."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from objectives.heads import Head
from objectives.paths import Path
from objectives.weightings.base import TimeWeighting


@dataclass(frozen=True)
class Denoising(TimeWeighting):
    """EDM's λ(σ): (σ² + σ_data²)/(σ·σ_data)² on ‖x̂ − x‖², σ = b/a, whatever the head predicts.

    On EDM's own head with the same σ_data it is 1. Source: Karras et al. 2022 (EDM), table 1 and eq. 8.

    Args:
        sigma_data: standard deviation that the data are taken to have.

    Raises:
        ValueError: sigma_data not positive and finite.
    """

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.sigma_data < math.inf:
            raise ValueError(f"denoising takes a positive finite sigma_data, got {self.sigma_data}")

    def weight(self, path: Path, head: Head, t: Tensor) -> Tensor:
        x_gain, noise_gain = head.gains(path, t)
        # (1/σ_data² + 1/σ²)·gain_x², and gain_x/σ = −gain_ε.
        return (x_gain / self.sigma_data) ** 2 + noise_gain**2

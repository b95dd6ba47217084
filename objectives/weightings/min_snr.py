"""Min-SNR weighting."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.heads import Head
from objectives.paths import Path
from objectives.weightings.base import TimeWeighting


@dataclass(frozen=True)
class MinSNR(TimeWeighting):
    """Min-SNR: min(SNR, γ)·‖x̂ − x‖² with SNR = a²/b², whatever the head predicts.

    That is min(SNR, γ)/SNR on the error of ε̂ and min(SNR, γ)/(SNR + 1) on that of v where a² + b² = 1.
    Source: Hang et al. 2023 (Min-SNR).

    Args:
        gamma: γ, the largest weight on x̂'s error.

    Raises:
        ValueError: gamma not positive and finite.
    """

    gamma: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.gamma < math.inf:
            raise ValueError(f"min_snr takes a positive finite gamma, got {self.gamma}")

    def weight(self, path: Path, head: Head, t: Tensor) -> Tensor:
        x_gain, noise_gain = head.gains(path, t)
        # min(a²/b², γ)·gain_x² with a·gain_x = −b·gain_ε: neither 0·∞ at t = 0 nor where a vanishes.
        return torch.minimum(noise_gain**2, self.gamma * x_gain**2)

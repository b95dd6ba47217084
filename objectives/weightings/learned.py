"""EDM2's learned uncertainty."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from objectives.heads import Head
from objectives.paths import Path
from objectives.weightings.base import TimeWeighting
from objectives.weightings.unweighted import Unweighted

_UNWEIGHTED = Unweighted()


class LearnedUncertainty(nn.Module, TimeWeighting):
    """Learned uncertainty: w(t)·error·exp(−u) + u, where u is a learned function of the noise level.

    The best u is ln(w·E error) at that level, so every level comes to weigh alike; it is trained beside the network
    and is no part of it. u = √(2/J)·Σ_j c_j·cos(2π(f_j·¼ln σ + φ_j)), σ = b/a, J features with fixed frequencies f, as
    N(0, 1) has them, and phases; c starts at zero, so training starts at the plain loss.
    Source: Karras et al. 2024 (EDM2), appendix B.

    Args:
        weighting: w, under the learned one.
        features: number of cosines, at least 2.

    Raises:
        ValueError: fewer than 2 features; a learned weighting under this one.
    """

    def __init__(self, weighting: TimeWeighting = _UNWEIGHTED, features: int = 128) -> None:
        super().__init__()
        if features < 2:
            raise ValueError(f"learned takes at least 2 features, got {features}")
        if isinstance(weighting, nn.Module):
            raise ValueError("learned takes a fixed weighting under it, not another learned one")
        self.weighting, self.features = weighting, features
        # Quantiles in place of random numbers: the same function of every seed, dense where N(0, 1) is.
        shares = (torch.arange(features, dtype=torch.float64) + 0.5) / features
        golden = (math.sqrt(5) - 1) / 2
        self.register_buffer("frequencies", torch.special.ndtri(shares).float(), persistent=False)
        self.register_buffer("phases", (torch.arange(features) * golden % 1).float(), persistent=False)
        self.coefficients = nn.Parameter(torch.zeros(features))

    def __repr__(self) -> str:
        return f"LearnedUncertainty(weighting={self.weighting}, features={self.features})"

    def log_variance(self, path: Path, t: Tensor) -> Tensor:
        """(B,) u at times t (B,), in t's dtype, in float32 at least, whatever the autocast state."""
        level = (-path.log_snr(t) / 8).to(torch.promote_types(t.dtype, torch.float32))
        frequencies, phases = self.get_buffer("frequencies"), self.get_buffer("phases")
        waves = torch.cos(2 * math.pi * (level[:, None] * frequencies + phases))
        return math.sqrt(2 / self.features) * (waves * self.coefficients).sum(1)

    def weight(self, path: Path, head: Head, t: Tensor) -> Tensor:
        return self.weighting.weight(path, head, t) * torch.exp(-self.log_variance(path, t))

    def weigh(self, error: Tensor, path: Path, head: Head, t: Tensor) -> Tensor:
        return super().weigh(error, path, head, t) + self.log_variance(path, t).to(error.dtype)

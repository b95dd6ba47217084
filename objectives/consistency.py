"""What consistency models on the variance-exploding path share: the function, its levels of noise, its distance."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from objectives.heads.base import rows
from objectives.paths import VarianceExploding


def consistency_function(raw: Tensor, z: Tensor, sigma: Tensor, path: VarianceExploding, sigma_data: float) -> Tensor:
    """f = c_skip·z + c_out·F, which is z itself at σ_min: the boundary condition of a consistency function.

    With δ = σ − σ_min: c_skip = σ_data²/(δ² + σ_data²), c_out = δ·σ_data/√(σ² + σ_data²).
    Source: Song et al. 2023 (consistency models), appendix C.

    Args:
        raw, z: (B, …) the network's output F and what it was asked at.
        sigma: (B,).
    """
    skip, out = gains(sigma, path, sigma_data)
    return rows(skip, z) * z + rows(out, z) * raw


def gains(sigma: Tensor, path: VarianceExploding, sigma_data: float) -> tuple[Tensor, Tensor]:
    """(c_skip, c_out), each (B,)."""
    above = sigma - path.sigma_min
    return sigma_data**2 / (above**2 + sigma_data**2), above * sigma_data / torch.sqrt(sigma**2 + sigma_data**2)


def neighbours(sigma: Tensor, path: VarianceExploding, intervals: int) -> tuple[Tensor, Tensor]:
    """(σ_i, σ_{i+1}): the levels of Karras' grid of so many intervals between which each σ (B,) lies.

    σ_i = (σ_min^(1/ρ) + i/intervals·(σ_max^(1/ρ) − σ_min^(1/ρ)))^ρ, i = 0 … intervals; a σ beyond the grid is given
    its last interval. Where σ has the density p, each interval comes with its integral: iCT's law of levels, with no
    table of it. Source: Song et al. 2023, §5; Song and Dhariwal 2023 (iCT), §3.5.
    """
    low, high = path.sigma_min ** (1 / path.rho), path.sigma_max ** (1 / path.rho)
    place = (sigma ** (1 / path.rho) - low) / (high - low) * intervals
    i = torch.floor(place).clamp(0, intervals - 1)
    below, above = ((low + n / intervals * (high - low)) ** path.rho for n in (i, i + 1))
    return below.clamp(min=path.sigma_min), above


def stage_of(progress: float, first: int, last: int) -> int:
    """Intervals of iCT's curriculum at a share of training: `first`, doubled at equal distances up to `last`.

    min(first·2^⌊progress·(log2⌊last/first⌋ + 1)⌋, last). Source: Song and Dhariwal 2023 (iCT), eq. 15.
    """
    doublings = math.floor(progress * (math.log2(last // first) + 1))
    return min(first * 2**doublings, last)


def pseudo_huber(square: Tensor, c: float) -> Tensor:
    """√(m + c²) − c of mean squares m (B,): iCT's √(‖·‖² + D·c²) − √D·c, divided by √D for samples of D elements."""
    return torch.sqrt(square + c**2) - c

"""The log-SNR's inverse."""

from __future__ import annotations

import torch
from torch import Tensor

from objectives.paths import Path

_HALVINGS = 64


def time_of_log_snr(path: Path, log_snr: Tensor) -> Tensor:
    """Path times (N,) at which λ has these values (N,): λ falls, and is inverted by bisection in float64."""
    target = log_snr.to(torch.float64)
    low, high = torch.zeros_like(target), torch.full_like(target, path.t_max)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = path.log_snr(middle) > target
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return (low + high) / 2

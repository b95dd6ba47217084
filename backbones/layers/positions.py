"""Fixed sine-cosine position codes of a grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def grid_positions(grid: tuple[int, ...], width: int, *, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Codes of all cells of a grid; each axis has an equal share of the width, the last axis the first share.

    An axis with share s codes its coordinate p as [sin(pω), cos(pω)], ω_i = 10000^(−2i/s), i < s/2
    (Vaswani et al. 2017 §3.5; in two dimensions as DiT).

    Returns:
        (N, width), the cells in row-major order.
    """
    share = width // len(grid)
    half = share // 2
    omega = torch.exp(-math.log(1e4) / half * torch.arange(half, device=device, dtype=torch.float32))
    codes = []
    for axis, cells in enumerate(grid):
        angles = torch.arange(cells, device=device, dtype=torch.float32)[:, None] * omega
        code = torch.cat([angles.sin(), angles.cos()], dim=1)
        lined_up = code.view(*[cells if i == axis else 1 for i in range(len(grid))], share)
        codes.append(lined_up.expand(*grid, share))
    return torch.cat(codes[::-1], dim=-1).reshape(-1, width).to(dtype)


def check_positions(family: str, width: int, dims: int) -> None:
    """Refuse a width that sine and cosine of every axis cannot share equally."""
    if width < 2 * dims or width % (2 * dims):
        raise ValueError(
            f"width={width}: {family} shares the width between sine and cosine of {dims} axes; "
            f"allowed: multiples of {2 * dims}"
        )

"""Position codes of a grid: fixed sine-cosine ones, and learned ones brought to another grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Coordinates:
    """Where on the axes of the codes a grid's cells lie.

    Cell i of n lies at (⌊(M − n)/2⌋ + i − offset)·scale: at the middle n of the M places of a table that is longer than
    any grid (SD3 §5.3.2), so that grids of all sizes and aspect ratios have one centre. Without a table cell i lies at
    (i − offset)·scale, which DiT does with offset 0 and scale 1. SD3 trains on 16 cells a side, then on s: the table's
    codes are interpolated by scale = 16/s, its middle s places beginning at 0 by offset = (M − s)/2.

    Args:
        places: M; 0 for no table.
        scale: the distance of two cells.
        offset: the place whose coordinate is 0.

    Raises:
        ValueError: fewer places than none, or a scale that is not above 0.
    """

    places: int = 0
    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if self.places < 0:
            raise ValueError(f"max_size={self.places}; allowed: 0 (no table) and above")
        if not self.scale > 0:
            raise ValueError(f"position_scale={self.scale}; allowed: above 0")

    def of(self, cells: int, device: torch.device) -> Tensor:
        """The coordinates of an axis of n cells, (n,) float32."""
        first = (self.places - cells) // 2 if self.places else 0
        index = torch.arange(cells, device=device, dtype=torch.float32)
        return (index + (first - self.offset)) * self.scale


def grid_positions(
    grid: tuple[int, ...],
    width: int,
    *,
    device: torch.device,
    dtype: torch.dtype,
    coordinates: Coordinates = Coordinates(),
) -> Tensor:
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
        angles = coordinates.of(cells, device)[:, None] * omega
        code = torch.cat([angles.sin(), angles.cos()], dim=1)
        lined_up = code.view(*[cells if i == axis else 1 for i in range(len(grid))], share)
        codes.append(lined_up.expand(*grid, share))
    return torch.cat(codes[::-1], dim=-1).reshape(-1, width).to(dtype)


def resample(codes: Tensor, grid: tuple[int, ...], target: tuple[int, ...]) -> Tensor:
    """Learned codes (1, N, D) of one grid for the cells of another over the same area, (1, M, D).

    Linear interpolation between the centres of the cells along each axis, constant beyond the outermost centres;
    a product with a matrix along each axis, so that its gradient is the same on every run.
    """
    codes = codes.unflatten(1, grid)
    for axis, (cells, wanted) in enumerate(zip(grid, target, strict=True), start=1):
        if cells != wanted:
            place = torch.arange(wanted, device=codes.device, dtype=torch.float32)
            place = ((place + 0.5) * (cells / wanted) - 0.5).clamp(0, cells - 1)
            distance = (place[:, None] - torch.arange(cells, device=codes.device)).abs()
            shares = (1 - distance).clamp(min=0).to(codes.dtype)
            codes = (shares @ codes.movedim(axis, -2)).movedim(-2, axis)
    return codes.flatten(1, -2)


def check_positions(family: str, width: int, dims: int) -> None:
    """Refuse a width that sine and cosine of every axis cannot share equally."""
    if width < 2 * dims or width % (2 * dims):
        raise ValueError(
            f"width={width}: {family} shares the width between sine and cosine of {dims} axes; "
            f"allowed: multiples of {2 * dims}"
        )

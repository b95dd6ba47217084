"""The sine-cosine position tables that public files hold, as their code makes them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def square_table(side: int, width: int, *, scale: float = 1.0, offset: float = 0.0) -> Tensor:
    """(1, side², width) float32: columns first, then rows, each [sin(pω), cos(pω)], ω_i = 10⁴^(−4i/width).

    p = (number − offset)·scale, rounded to float32 as the public code has it (it divides by 1/scale), all else in
    float64 and rounded once.
    Source: DiT's `get_2d_sincos_pos_embed`, SD3's with a scaling factor.
    """
    half = width // 4
    omega = 1.0 / 10000 ** (torch.arange(half, dtype=torch.float64) / half)
    numbers = (torch.arange(side, dtype=torch.float32) - offset) / (1 / scale)
    angles = torch.outer(numbers.double(), omega)
    code = torch.cat((angles.sin(), angles.cos()), dim=1).float()
    columns, rows = code.expand(side, side, -1), code[:, None].expand(side, side, -1)
    return torch.cat((columns, rows), dim=2).reshape(1, side * side, width)


def coordinates(table: Tensor) -> tuple[int, float, float]:
    """(side, scale, offset) of a square table: the phase of its fastest code, followed along the first row.

    ``scale`` is a ratio base/side of whole numbers where the table is as exact as that, ``offset`` 0 likewise.
    """
    side, width = math.isqrt(table.shape[1]), table.shape[2]
    row = table[0, :side].double()
    phase = torch.atan2(row[:, 0], row[:, width // 4])
    if side == 1:
        return 1, 1.0, 0.0
    turned = torch.remainder(phase.diff() + math.pi, 2 * math.pi) - math.pi
    scale = float(turned.mean())
    base = round(scale * side)
    if base and abs(base / side - scale) * side < 0.05:
        scale = base / side
    offset = -float(phase[0]) / scale if scale else 0.0
    return side, scale or 1.0, offset if abs(offset * scale) > 0.01 else 0.0

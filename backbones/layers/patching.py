"""Cutting samples into patches and laying patches out again, in one, two or three dimensions.

Shapes: a sample is (C, S1, …, Sn); with patches of side p the grid is (S1/p, …, Sn/p) and N its number of cells.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class PatchEmbed(nn.Module):
    """Each patch through one linear layer, kept as a convolution of stride p: the layout of public checkpoints."""

    def __init__(self, *, channels: int, patch: int, width: int, dims: int) -> None:
        super().__init__()
        self.proj = CONVOLUTIONS[dims](channels, width, kernel_size=patch, stride=patch)

    def forward(self, z: Tensor) -> Tensor:
        """Samples (B, C, S1, …, Sn) to tokens (B, N, D), the last axis fastest."""
        return self.proj(z).flatten(2).transpose(1, 2)


def grid_of(shape: tuple[int, ...], patch: int) -> tuple[int, ...]:
    """The number of patches along each axis of a sample of shape (C, S1, …, Sn)."""
    return tuple(side // patch for side in shape[1:])


def unpatchify(x: Tensor, grid: tuple[int, ...], patch: int) -> Tensor:
    """Tokens (B, N, pⁿ·C), a patch's features in the order (p1, …, pn, C), to samples (B, C, S1, …, Sn)."""
    dims = len(grid)
    batch, channels = x.shape[0], x.shape[2] // patch**dims
    x = x.reshape(batch, *grid, *[patch] * dims, channels)
    interleaved = [axis for i in range(dims) for axis in (1 + i, 1 + dims + i)]
    x = x.permute(0, 2 * dims + 1, *interleaved)
    return x.reshape(batch, channels, *(side * patch for side in grid))


def patch_features(shape: tuple[int, ...], patch: int) -> int:
    """The number of features of one patch, pⁿ·C."""
    return shape[0] * math.prod([patch] * (len(shape) - 1))

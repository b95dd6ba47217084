"""Residual blocks of convolutions, and halving and doubling of what they work on, in one, two or three dimensions.

Shapes: a map is (B, C, S1, …, Sn).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from backbones.layers.patching import CONVOLUTIONS

GROUPS = 32
"""The most groups of a norm."""


def group_norm(channels: int, *, affine: bool = True) -> nn.GroupNorm:
    """Group norm with as many groups, up to 32, as divide the channels and leave each of them four channels or more."""
    groups = max((n for n in range(1, GROUPS + 1) if channels % n == 0 and channels // n >= 4), default=1)
    return nn.GroupNorm(groups, channels, eps=1e-6, affine=affine)


class ResidualBlock(nn.Module):
    """x ↦ s(x) + conv(SiLU(norm(h)·(1 + scale) + shift)), h = conv(SiLU(norm(x))), shift and scale from a vector.

    Both convolutions are 3 wide; s is the identity, or a convolution 1 wide where the number of channels changes. The
    second convolution starts at zero (Ho et al. 2020; Dhariwal and Nichol 2021, §3, for the modulated norm).

    Args:
        inputs, outputs: channels.
        width: D of the vector.
        dims: the number of axes of a map.
    """

    def __init__(self, *, inputs: int, outputs: int, width: int, dims: int) -> None:
        super().__init__()
        self.norm1 = group_norm(inputs)
        self.conv1 = CONVOLUTIONS[dims](inputs, outputs, 3, padding=1)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * outputs))
        self.norm2 = group_norm(outputs, affine=False)
        self.conv2 = CONVOLUTIONS[dims](outputs, outputs, 3, padding=1)
        self.shortcut = nn.Identity() if inputs == outputs else CONVOLUTIONS[dims](inputs, outputs, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """A map (B, inputs, …) and vector (B, D) to a map (B, outputs, …)."""
        h = self.conv1(silu(self.norm1(x)))
        everywhere = (..., *[None] * (h.ndim - 2))
        shift, scale = (part[everywhere] for part in self.adaLN_modulation(y).chunk(2, dim=1))
        return self.shortcut(x) + self.conv2(silu(torch.addcmul(shift, self.norm2(h), 1 + scale)))


def halved(x: Tensor) -> Tensor:
    """The mean of each two neighbours along every axis: sides S to S/2."""
    for axis in range(2, x.ndim):
        even, odd = x.unflatten(axis, (-1, 2)).unbind(axis + 1)
        x = (even + odd) / 2
    return x


def doubled(x: Tensor) -> Tensor:
    """Each element twice along every axis: sides S to 2S."""
    for axis in range(2, x.ndim):
        shape = list(x.shape)
        x = x.unsqueeze(axis + 1).expand(*shape[: axis + 1], 2, *shape[axis + 1 :]).flatten(axis, axis + 1)
    return x

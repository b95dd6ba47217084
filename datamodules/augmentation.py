"""Random flips, rotations and shifts of images, with parameters from the draws."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from datamodules.base import Uniforms

BACKGROUND = -1.0


@dataclass(frozen=True)
class Augmentation:
    """Flip, then rotate, then shift; what comes in from outside is background (−1, black).

    Attributes:
        shift: largest shift in pixels; both directions are whole numbers, uniform on −shift … shift.
        rotation: largest rotation in degrees, uniform on (−rotation, rotation), bilinear about the centre.
        flip: mirror left and right with probability ½.

    Raises:
        ValueError: for a negative shift or a rotation outside [0, 180].
    """

    shift: int = 0
    rotation: float = 0.0
    flip: bool = False

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise ValueError(f"shift is {self.shift}; it is a number of pixels, at least 0")
        if not 0 <= self.rotation <= 180:
            raise ValueError(f"rotation is {self.rotation}; it is a number of degrees in 0 … 180")

    @property
    def off(self) -> bool:
        """Whether images come out as they went in."""
        return not (self.shift or self.rotation or self.flip)

    def __call__(self, x: Tensor, draws: Uniforms) -> Tensor:
        """Change images (B, C, H, W) in [−1, 1]; a row depends on its own draws alone."""
        if self.off:
            return x
        from kornia.geometry import transform  # only runs that augment pay for this import

        rows = (len(x),)
        ink = x - BACKGROUND
        if self.flip:
            mirrored = draws.uniform("flip", rows).to(x.device) < 0.5
            ink = torch.where(mirrored[:, None, None, None], transform.hflip(ink), ink)
        if self.rotation:
            angle = (2 * draws.uniform("rotation", rows) - 1) * self.rotation
            ink = transform.rotate(ink, angle.to(ink))
        if self.shift:
            span = 2 * self.shift + 1
            moves = [(draws.uniform(name, rows) * span).floor() - self.shift for name in ("shift_x", "shift_y")]
            ink = transform.translate(ink, torch.stack(moves, dim=1).to(ink), mode="nearest")
        return ink + BACKGROUND

"""What the image sets share: normalised pixels back to bytes, and augmentation of a batch."""

from __future__ import annotations

from torch import Tensor

from datamodules.augmentation import Augmentation
from datamodules.base import Batch, DataModule, Uniforms


def to_bytes(x: Tensor) -> Tensor:
    """Pixels in [−1, 1] to uint8 0 … 255, rounded and clipped; what is not a number becomes middle grey."""
    return ((x.detach().float().nan_to_num(nan=0.0) + 1) * 127.5).round().clamp(0, 255).byte()


class ImageData(DataModule):
    """Images (C, H, W) in [−1, 1], augmented while training if asked."""

    def __init__(self, *, shift: int = 0, rotation: float = 0.0, flip: bool = False) -> None:
        self.shift, self.rotation, self.flip = shift, rotation, flip
        self.augmentation = Augmentation(shift=shift, rotation=rotation, flip=flip)

    def augment(self, batch: Batch, draws: Uniforms) -> Batch:
        """Flip, rotate and shift `x` as the options say; the condition stays."""
        return {**batch, "x": self.augmentation(batch["x"], draws)}

    def to_images(self, x: Tensor) -> Tensor:
        """Pictures (B, C, H, W), uint8: 0 is −1, 255 is 1."""
        return to_bytes(x)

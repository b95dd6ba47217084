"""The 1,797 handwritten digits of 8 × 8 pixels that scikit-learn ships."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from datamodules.base import Rows
from datamodules.images import ImageData
from datamodules.spec import DataSpec
from datamodules.split import stratified

HELD_OUT = 360
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NAMES = tuple(f"the digit {word}" for word in DIGITS)


class Digits(ImageData):
    """Handwritten digits, 8×8 grey, 10 classes: 1,437 to train on, 360 held out (scikit-learn).

    Grey values 0 … 16 are normalised to v/8 − 1 in [−1, 1]. The held-out rows are a fixed stratified fifth.

    Args:
        shift: augmentation: largest shift in pixels.
        rotation: augmentation: largest rotation in degrees.
        flip: augmentation: mirror at random (most digits do not survive it).

    Source: Alpaydin & Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998), test part.
    """

    features: ClassVar[str] = "digits_cnn"
    cell: ClassVar[float | None] = 1 / 8
    names: ClassVar[tuple[str, ...]] = NAMES

    def __init__(self, *, shift: int = 0, rotation: float = 0.0, flip: bool = False) -> None:
        super().__init__(shift=shift, rotation=rotation, flip=flip)

    @property
    def spec(self) -> DataSpec:
        return DataSpec(shape=(1, 8, 8), num_classes=10, data_std=0.752)

    def load(self) -> tuple[Rows, Rows]:
        from sklearn.datasets import load_digits  # costs two seconds, and only loading needs it

        pixels, labels = load_digits(return_X_y=True)
        x = torch.from_numpy(np.asarray(pixels, dtype=np.float32)).reshape(-1, 1, 8, 8) / 8 - 1
        label = torch.from_numpy(np.asarray(labels, dtype=np.int64))
        train, heldout = stratified(label.numpy(), HELD_OUT)
        return Rows(x[train], label[train]), Rows(x[heldout], label[heldout])

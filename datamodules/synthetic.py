"""Noise in the shape of any data: for layouts, benchmarks and tests of what only sizes decide."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from datamodules.base import Batch, DataModule, Rows
from datamodules.spec import DataSpec


class Synthetic(DataModule):
    """Standard normal samples with random labels, context tokens and pooled vectors: sizes without content.

    By default as DiT's autoencoder gives 256×256 images of ImageNet: 4×32×32, 1,000 classes.

    Args:
        shape: of one sample, (C, H, W) or (D,).
        num_classes: number of labels; 0 for none.
        context: (L, D), length and width of the context tokens; null for none.
        pooled: width of the pooled vector; 0 for none.
        sections: lengths of the parts of the context that come from different text encoders (SD3: 77, 77).
        size: number of training samples; half as many are held out.
        seed: which are drawn; part of the data, not the run's seed.

    Raises:
        ValueError: a size that is not positive, sections that do not make up the context, fewer than 2 samples or a
            negative seed.
    """

    features: ClassVar[str] = "pixels"

    def __init__(
        self,
        *,
        shape: tuple[int, ...] = (4, 32, 32),
        num_classes: int = 1000,
        context: tuple[int, int] | None = None,
        pooled: int = 0,
        size: int = 64,
        seed: int = 0,
        sections: tuple[int, ...] = (),
    ) -> None:
        if size < 2:
            raise ValueError(f"size is {size}; at least 2 samples are needed")
        if seed < 0:
            raise ValueError(f"seed is {seed}; it must not be negative")
        self.shape, self.num_classes, self.context, self.pooled = shape, num_classes, context, pooled
        self.size, self.seed, self.sections = size, seed, sections
        self._spec = DataSpec(shape, num_classes=num_classes, context=context, pooled=pooled, sections=sections)

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def load(self) -> tuple[Rows, Rows]:
        return (
            SyntheticRows(self.spec, self.size, seed=2 * self.seed),
            SyntheticRows(self.spec, self.size // 2, seed=2 * self.seed + 1),
        )

    def to_images(self, x: Tensor) -> Tensor:
        """The first three channels, ±2 standard deviations from black to white; vectors as one row."""
        if x.ndim == 2:
            x = x[:, None, None]
        return (x[:, :3] * 64 + 128).clamp(0, 255).byte()


class SyntheticRows(Rows):
    """Samples and labels in memory; contexts and pooled vectors, which are larger, drawn anew for each row."""

    def __init__(self, spec: DataSpec, size: int, *, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(size, *spec.shape, generator=generator)
        label = torch.randint(spec.num_classes, (size,), generator=generator) if spec.num_classes else None
        super().__init__(x, label)
        self.spec, self.seed = spec, seed

    def __getitem__(self, rows: Tensor) -> Batch:
        batch = super().__getitem__(rows)
        sizes = {"context": self.spec.context, "pooled": (self.spec.pooled,) if self.spec.pooled else None}
        for part, shape in sizes.items():
            if shape is not None:
                drawn = [self._row(part, row, shape) for row in rows.tolist()]
                batch.setdefault("condition", {})[part] = torch.stack(drawn)
        return batch

    def _row(self, part: str, row: int, shape: tuple[int, ...]) -> Tensor:
        key = (self.seed * len(self) + row) * 2 + (part == "pooled")
        return torch.randn(shape, generator=torch.Generator().manual_seed(key))

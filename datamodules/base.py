"""The data contract: what every datamodule gives to training, sampling and evaluation.

Shapes: B rows; x (B, *spec.shape) float32, normalised as the datamodule's docstring states.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from datamodules.spec import DataSpec

Split = Literal["train", "validation"]
Batch = dict[str, Any]


class DataError(Exception):
    """Data that cannot be used, and why: files that are missing or damaged, or other data than were meant."""


class Uniforms(Protocol):
    """What augmentation needs of the draws: uniforms in (0, 1) by name."""

    def uniform(self, name: str, shape: tuple[int, ...], /) -> Tensor: ...


class Rows(Dataset[Batch]):
    """Tensors in memory, read by batches of rows.

    `rows[LongTensor (B,)]` is {"x": (B, …) float32, "index": (B,) int64} and, where there is a condition,
    "condition": any of {"label": (B,) int64, "context": (B, L, D) or ids (B, L), "pooled": (B, P)}. `index` is the row
    within the split.
    """

    def __init__(
        self, x: Tensor, label: Tensor | None = None, *, context: Tensor | None = None, pooled: Tensor | None = None
    ) -> None:
        given = {"label": label, "context": context, "pooled": pooled}
        self.x, self.label = x.float().contiguous(), label
        self.condition = {name: part for name, part in given.items() if part is not None}
        for name, part in self.condition.items():
            if len(part) != len(x):
                raise ValueError(f"{len(x)} samples, but {len(part)} {name}s")

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Tensor) -> Batch:
        batch: Batch = {"x": self.x[rows], "index": rows}
        if self.condition:
            batch["condition"] = {name: part[rows] for name, part in self.condition.items()}
        return batch


class DataModule(ABC):
    """A data set with a fixed division into training and held-out rows.

    `spec` is known before anything is loaded; `setup()` loads, and loading twice is loading once. Constructor
    arguments stay on the object under their own names.
    """

    version: ClassVar[int] = 1
    features: ClassVar[str]
    """Name of the feature extractor that distances on these data use by default."""
    cell: ClassVar[float | None] = None
    """Width, in normalised units, of the cells that values are rounded to; None where they are continuous."""
    names: ClassVar[tuple[str, ...]] = ()
    """What a caption calls the classes, by label; () where there is no name for them."""
    pairs: ClassVar[bool] = False
    """Whether a training batch carries "noise" (B, *spec.shape), the standard normal noise that belongs to each x."""

    _splits: dict[Split, Rows] | None = None

    @property
    @abstractmethod
    def spec(self) -> DataSpec:
        """Shape, conditions and scale; cheap, before any loading."""

    @property
    def real(self) -> DataModule:
        """The data that samples are compared with and take conditions from: these, unless a model made them."""
        return self

    @abstractmethod
    def load(self) -> tuple[Rows, Rows]:
        """Read and normalise the training rows and the held-out rows.

        Raises:
            DataError: they cannot be used.
        """

    @abstractmethod
    def to_images(self, x: Tensor) -> Tensor:
        """Pictures of normalised samples, uint8, (B, C, H, W) unless the datamodule says otherwise."""

    def setup(self) -> None:
        """Load the data, if that has not been done."""
        if self._splits is None:
            train, validation = self.load()
            self._splits = {"train": train, "validation": validation}

    def dataset(self, split: Split) -> Rows:
        """The rows of one split, loaded if need be.

        Raises:
            ValueError: for a split of another name.
        """
        self.setup()
        assert self._splits is not None
        if split not in self._splits:
            raise ValueError(f"split is {split!r}; it is one of {', '.join(self._splits)}")
        return self._splits[split]

    def augment(self, batch: Batch, draws: Uniforms) -> Batch:
        """The batch, randomly changed by parameters from `draws`; by default the batch itself."""
        del draws
        return batch

    def loader(self, split: Split, order: Sampler[Tensor], workers: int = 0) -> DataLoader[Batch]:
        """Batches of one split in the given order (a sampler of LongTensors of rows)."""
        return DataLoader(
            self.dataset(split),
            sampler=order,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # the loader seeds its workers from here and leaves torch's generator alone
        )

    @property
    def fingerprint(self) -> str:
        """16 hex digits of the SHA-256 of both splits as they are after normalisation (loads them)."""
        digest = hashlib.sha256()
        for split in ("train", "validation"):
            rows = self.dataset(split)
            digest.update(f"{split} {tuple(rows.x.shape)}".encode())
            digest.update(rows.x.numpy().tobytes())
            for part in rows.condition.values():
                digest.update(part.numpy().tobytes())
        return digest.hexdigest()[:16]

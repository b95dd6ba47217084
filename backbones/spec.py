"""What a backbone must know of the data."""

from __future__ import annotations

from typing import Protocol

PARTS = ("label", "context", "pooled")
"""The parts a condition can have, in the order of the columns of ``drop``."""


class Spec(Protocol):
    """The shape of a sample and of its condition; a datamodule's ``spec`` is one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """A sample's shape without the batch: (C, H, W) for images, (C, L) for sequences, (D,) for points."""
        ...

    @property
    def num_classes(self) -> int:
        """The number K of labels 0…K−1; 0 where there are none."""
        ...

    @property
    def context(self) -> tuple[int, int] | None:
        """The (length, width) of the context tokens, or None."""
        ...

    @property
    def pooled(self) -> int:
        """The width of the pooled vector; 0 where there is none."""
        ...

    @property
    def data_std(self) -> float:
        """The standard deviation of the data's elements."""
        ...


def parts_of(spec: Spec) -> tuple[str, ...]:
    """The parts, of :data:`PARTS`, that a condition of this spec has."""
    present = {"label": spec.num_classes > 0, "context": spec.context is not None, "pooled": spec.pooled > 0}
    return tuple(part for part in PARTS if present[part])

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
    def sections(self) -> tuple[int, ...]:
        """The lengths of the parts of the context that come from different text encoders; () where one gives all."""
        ...

    @property
    def vocabulary(self) -> int:
        """The number of word ids where the context comes as ids (L,), 0 filling up; 0 where it comes as tokens."""
        ...

    @property
    def data_std(self) -> float:
        """The standard deviation of the data's elements."""
        ...


def parts_of(spec: Spec) -> tuple[str, ...]:
    """The parts, of :data:`PARTS`, that a condition of this spec has."""
    present = {"label": spec.num_classes > 0, "context": spec.context is not None, "pooled": spec.pooled > 0}
    return tuple(part for part in PARTS if present[part])


def sections_of(spec: Spec) -> tuple[int, ...]:
    """The lengths of the context's sections: (L,) where nothing else is said, () where there is no context."""
    if spec.context is None:
        return ()
    return tuple(spec.sections) or (spec.context[0],)


def inputs_of(spec: Spec) -> dict[str, tuple[tuple[int, ...], bool]]:
    """The tensors of a condition: name -> (shape without the batch, whether it holds integers)."""
    found: dict[str, tuple[tuple[int, ...], bool]] = {}
    if spec.num_classes:
        found["label"] = ((), True)
    if spec.context is not None:
        found["context"] = (spec.context[:1], True) if spec.vocabulary else (tuple(spec.context), False)
    if spec.pooled and not spec.vocabulary:
        found["pooled"] = ((spec.pooled,), False)
    return found

"""What a network has to know of the data, without loading them and without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataSpec:
    """Shape and conditioning of one data set.

    Attributes:
        shape: of one sample without the batch: (C, H, W) for images, (D,) for points.
        num_classes: number of labels, numbered from 0; 0 where there are none.
        context: (L, D), length and width of the context tokens; None where there are none.
        pooled: width of the pooled context vector; 0 where there is none.
        sections: lengths of the parts of the context that come from different text encoders; () where one gives all.
        vocabulary: number of word ids where the context comes as ids (L,) int64, 0 filling up, which the backbone turns
            into tokens of that width and a pooled vector itself; 0 where it comes as tokens.
        data_std: standard deviation over all elements of the normalised training split (EDM's sigma_data).

    Raises:
        ValueError: for an empty or non-positive shape, negative counts, sections that do not make up the context, a
            vocabulary without context, or a standard deviation that is not positive.
    """

    shape: tuple[int, ...]
    num_classes: int = 0
    context: tuple[int, int] | None = None
    pooled: int = 0
    sections: tuple[int, ...] = ()
    vocabulary: int = 0
    data_std: float = 1.0

    def __post_init__(self) -> None:
        if not self.shape or any(extent < 1 for extent in self.shape):
            raise ValueError(f"shape is {self.shape}; it needs one or more extents of at least 1")
        if self.num_classes < 0 or self.pooled < 0:
            raise ValueError(f"num_classes is {self.num_classes}, pooled is {self.pooled}; neither may be negative")
        if self.context is not None and min(self.context) < 1:
            raise ValueError(f"context is {self.context}; length and width are at least 1")
        length = 0 if self.context is None else self.context[0]
        if self.sections and (min(self.sections) < 1 or sum(self.sections) != length):
            raise ValueError(f"sections are {self.sections}; they are lengths of at least 1 whose sum is {length}")
        if self.vocabulary < 0 or (self.vocabulary and self.context is None):
            raise ValueError(f"vocabulary is {self.vocabulary}, context {self.context}; ids are those of a context")
        if not self.data_std > 0:
            raise ValueError(f"data_std is {self.data_std}; it must be above 0")

    @property
    def conditional(self) -> bool:
        """Whether a batch of these data carries a condition."""
        return self.num_classes > 0 or self.context is not None or self.pooled > 0

"""One row of a layout's table: a parameter here, the tensors there, and the form in which they hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Size, Tensor

Form = Literal["same", "stacked", "swapped", "copies", "negated"]


@dataclass(frozen=True)
class Row:
    """A parameter here and the tensors there.

    Every form only moves values or turns their sign, so that there and back is the identity, bit for bit.

    Attributes:
        ours: the qualified name here.
        theirs: the names there.
        form: "same"; "stacked": theirs one behind the other along the first axis (q, k, v); "swapped": the two halves
            of the first axis change places (shift, scale ↔ scale, shift); "copies": each of theirs is a copy;
            "negated": −1 times theirs.
    """

    ours: str
    theirs: tuple[str, ...]
    form: Form = "same"

    def shapes(self, shape: Sequence[int]) -> list[Size]:
        """The shapes of theirs where ours has ``shape``."""
        if self.form == "stacked":
            return [Size((shape[0] // len(self.theirs), *shape[1:]))] * len(self.theirs)
        return [Size(shape)] * len(self.theirs)

    def read(self, tensors: Sequence[Tensor]) -> Tensor:
        """Ours from theirs.

        Raises:
            ValueError: copies that are not equal.
        """
        first = tensors[0]
        if self.form == "stacked":
            return torch.cat(list(tensors))
        if self.form == "swapped":
            return torch.cat(first.chunk(2)[::-1])
        if self.form == "copies":
            for name, tensor in zip(self.theirs[1:], tensors[1:], strict=True):
                if not torch.equal(first, tensor):
                    raise ValueError(f"{name} is another than {self.theirs[0]}; there is one for all blocks here")
        return -first if self.form == "negated" else first

    def write(self, tensor: Tensor) -> list[Tensor]:
        """Theirs from ours."""
        if self.form == "stacked":
            return list(tensor.chunk(len(self.theirs)))
        if self.form == "swapped":
            return [torch.cat(tensor.chunk(2)[::-1])]
        if self.form == "copies":
            return [tensor.clone() for _ in self.theirs]
        return [-tensor if self.form == "negated" else tensor]


def same(name: str) -> Row:
    """A tensor that has one name here and there."""
    return Row(name, (name,))


def pairs(ours: str, *theirs: str, form: Form = "same") -> list[Row]:
    """The rows of a layer's weight and bias."""
    return [Row(f"{ours}.{part}", tuple(f"{name}.{part}" for name in theirs), form) for part in ("weight", "bias")]

"""What a public layout is: what a file tells, and which tensor there is which parameter here."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from torch import Tensor

from backbones.base import Backbone
from backbones.pretrained.rows import Row, same

State = Mapping[str, Tensor]


class LayoutError(ValueError):
    """Why a state dict and a layout do not fit: every reason, one a line."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = tuple(reasons)


@dataclass(frozen=True)
class Sizes:
    """The shape of the data that a network was made for; a backbone's ``spec``."""

    shape: tuple[int, ...]
    num_classes: int = 0
    context: tuple[int, int] | None = None
    pooled: int = 0
    data_std: float = 1.0
    vocabulary: int = 0
    sections: tuple[int, ...] = ()


@dataclass(frozen=True)
class Found:
    """What a file tells of the network in it.

    Attributes:
        options: constructor options of the backbone.
        shape, num_classes, context, pooled: as of :class:`Sizes`.
        guessed: option or size -> why the file does not tell it; ``options`` or the sizes hold what is usual.
        asked: option -> why the file does not tell it and nothing is usual: it has to be given.
    """

    options: dict[str, Any]
    shape: tuple[int, ...]
    num_classes: int = 0
    context: tuple[int, int] | None = None
    pooled: int = 0
    guessed: dict[str, str] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)

    def sizes(self) -> Sizes:
        """The sizes as a backbone's ``spec``."""
        return Sizes(self.shape, self.num_classes, self.context, self.pooled)


class Layout(ABC):
    """How one public code base lays out the weights of one architecture.

    Attributes:
        name: what ``fewstep import --as`` calls it.
        family: the backbone's registered name.
        code: whose code reads and writes it.
        prefix: what stands before every name in public files, and may be left out.
        foreign: prefixes of what else is in public files and no part of the network.
        shared: patterns of the parameters that have one name here and there.
    """

    name: ClassVar[str]
    family: ClassVar[str]
    code: ClassVar[str]
    prefix: ClassVar[str] = ""
    foreign: ClassVar[tuple[str, ...]] = ()
    shared: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def read(self, theirs: State, config: Mapping[str, Any] | None = None) -> Found:
        """What the shapes tell of the network; ``config`` is what stands beside the file in config.json.

        Raises:
            LayoutError: the state dict is none of this layout.
        """

    def rows(self, network: Backbone) -> list[Row]:
        """Which tensors there are which parameter here; by default the ``shared`` ones under their own names."""
        names = (name for name, _ in network.named_parameters())
        return [same(name) for name in names if any(fnmatchcase(name, pattern) for pattern in self.shared)]

    def tables(self, network: Backbone) -> dict[str, Tensor]:
        """Fixed tables that public files hold and the network computes: name -> float32 values."""
        del network
        return {}

    def misfits(self, network: Backbone) -> list[str]:
        """Why this layout's code would compute something else than ``network`` does, one reason a line."""
        del network
        return []

    def config(self, network: Backbone) -> dict[str, Any] | None:
        """The content of config.json where the layout's code wants one."""
        del network
        return None


def need(theirs: State, *names: str, of: str) -> None:
    """Raise a :class:`LayoutError` unless all of these tensors, from which sizes are read, are there."""
    missing = [name for name in names if name not in theirs]
    if missing:
        raise LayoutError([f"{name} is missing: every checkpoint of {of} has it" for name in missing])


def count(theirs: State, stem: str) -> int:
    """The number of blocks: one more than the largest number behind ``stem`` in the names."""
    numbers = {name[len(stem) :].split(".")[0] for name in theirs if name.startswith(stem)}
    return max((int(number) + 1 for number in numbers if number.isdigit()), default=0)


def usual_heads(width: int) -> int | None:
    """The published models' heads: 64 wide, or 72 where D is 1152; None where neither divides."""
    if width == 1152:
        return 16
    return width // 64 if width % 64 == 0 else None


def heads(width: int, config: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, str], dict[str, str]]:
    """Options, guesses and questions about the number of heads, which no tensor's shape tells."""
    told, usual = config.get("num_attention_heads"), usual_heads(width)
    if isinstance(told, int):
        return {"heads": told}, {}, {}
    if usual is not None:
        return {"heads": usual}, {"heads": f"{usual} for the width {width}, as in the published models"}, {}
    return {}, {}, {"heads": f"no shape tells the number of heads, and the width {width} is no published model's"}


def square(cells: int, patch: int) -> tuple[int, int] | None:
    """The sides of the square image that has so many patches; None where none has."""
    side = math.isqrt(max(cells, 0))
    return (side * patch, side * patch) if side and side * side == cells else None

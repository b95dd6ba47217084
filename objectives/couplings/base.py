"""What a coupling is: which noise goes with which sample, decided inside small groups of rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from objectives.condition import Condition


class Coupling(ABC):
    """Decides which noise a sample is mixed with, before the path.

    Rows are coupled inside groups of consecutive positions of the global batch, so that a row's partner depends on the
    draws and the data of its group alone, and not on how the batch is divided. Samples and conditions stay where they
    are; noise moves.
    """

    version: ClassVar[int] = 1
    pairs: ClassVar[bool] = False
    """The batch carries its own noise."""

    labels: ClassVar[bool] = False
    """The condition has to hold a class label."""

    @property
    def batch_multiple(self) -> int:
        """Rows per group: a local batch must be a multiple of it, and start at one in the global batch."""
        return 1

    @abstractmethod
    def couple(self, noise: Tensor, x: Tensor, condition: Condition) -> Tensor:
        """The noise (B, …) for each row of x (B, …): the rows of `noise`, reordered inside their groups."""


def check_group(name: str, group: int) -> None:
    """Raise ValueError unless a group has 2 to 4096 rows: one couples nothing, the cost grows as the cube."""
    if not 2 <= group <= 4096:
        raise ValueError(f"{name} takes groups of 2 to 4096 rows, got {group}")

"""Pairs that come with the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from objectives.condition import Condition
from objectives.couplings.base import Coupling


@dataclass(frozen=True)
class GivenPairs(Coupling):
    """Given pairs: each sample with the noise that its batch carries, as reflow's second stage needs.

    The batch's "noise" takes the place of the draw of that name; data without it are refused.
    Source: Liu et al. 2022 (Rectified Flow), algorithm 1.
    """

    pairs: ClassVar[bool] = True

    def couple(self, noise: Tensor, x: Tensor, condition: Condition) -> Tensor:
        return noise

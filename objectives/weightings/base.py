"""What a weighting of the training times is: a factor on the head's regression error, apart from how often t is drawn.

A loss E_{t~π} w(t)·‖error‖² has a density π and a weight w. Only their product is in the expectation, so each can do
the other's work, with another variance: drawing times from π is weighing uniform ones by π(t).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from objectives.heads import Head
from objectives.paths import Path


class TimeWeighting(ABC):
    """w(t): the factor on the head's own mean squared error at time t.

    Most weights are known for the error of x̂ or of ε̂; `Head.gains` turns them into factors on the raw output's error,
    so that a weighting means the same under every head.
    """

    version: ClassVar[int] = 1

    @abstractmethod
    def weight(self, path: Path, head: Head, t: Tensor) -> Tensor:
        """(B,) factor on the head's error at times t (B,), in t's dtype."""

    def weigh(self, error: Tensor, path: Path, head: Head, t: Tensor) -> Tensor:
        """(B,) losses of mean squared errors (B,) at times t (B,): w(t)·error."""
        return self.weight(path, head, t).to(error.dtype) * error

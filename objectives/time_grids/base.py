"""What a time grid is: the path times that a solver visits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from objectives.base import Objective, count_steps
from objectives.paths import Path


class TimeGrid(ABC):
    """The times at which to sample, chosen in place of the objective's own."""

    version: ClassVar[int] = 1
    name: ClassVar[str]

    def check(self, objective: Objective) -> None:
        """Raise ValueError if the objective or its path cannot be sampled at these times.

        Raises:
            ValueError: an objective that was trained for times of its own.
        """
        if not objective.free_grid:
            raise ValueError(f"{objective.notation} is sampled at times of its own; the grid {self.name} does not fit")

    @abstractmethod
    def inner(self, path: Path, steps: int) -> Tensor:
        """(steps−1,) float64 path times between the first, t_max, and the last, 0; descending. steps is at least 2."""

    def times(self, objective: Objective, steps: int) -> Tensor:
        """(steps+1,) float64 path times, descending: where the objective's own grid begins, the inner ones, 0.

        Raises:
            ValueError: what `check` refuses; an illegal number of steps, or more than float64 tells apart.
        """
        self.check(objective)
        first, last = objective.time_grid(1)
        inner = first.new_empty(0) if count_steps(steps) == 1 else self.inner(objective.path, steps)
        times = torch.cat((first[None], inner, last[None]))
        if not bool((times.diff() < 0).all()):
            raise ValueError(f"{self} on {objective.path} has no {steps} distinct steps")
        return times

"""What a solver is, and the steps that it walks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from objectives.base import Network, Objective
from objectives.condition import Condition
from objectives.draws import AnyDraws

OnStep = Callable[[int, float, Tensor], None]
"""on_step(steps done, path time, z), called after every step."""


class Solver(ABC):
    """Integrates an objective's ODE over a grid of path times."""

    version: ClassVar[int] = 1
    name: ClassVar[str]

    def check(self, objective: Objective) -> None:
        """Raise ValueError if this solver cannot serve the objective. A third party's solver says here what it serves.

        Raises:
            ValueError: the objective does not name this solver.
        """
        if self.name not in objective.solvers:
            raise ValueError(
                f"{objective.notation} cannot be sampled with {self.name}; allowed: {', '.join(objective.solvers)}"
            )

    @abstractmethod
    def solve(
        self,
        objective: Objective,
        network: Network,
        z: Tensor,
        times: Tensor,
        condition: Condition,
        *,
        draws: AnyDraws | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """z at the last of the `times` ((N+1,) float64 path times, descending), from z at the first."""


@dataclass(frozen=True)
class Step:
    """One step of a grid, from path time `start` to `end`; as tensors (B,) float64 `t` and `next_t`.

    `length` is d = start − end (B,) where the objective conditions on it, else None; `change` is the change of τ.
    """

    number: int
    start: float
    end: float
    t: Tensor
    next_t: Tensor
    length: Tensor | None
    change: float


def walk(objective: Objective, z: Tensor, times: Tensor) -> Iterator[Step]:
    """The steps of a grid for a batch like z."""
    clock = objective.path.clock(times).tolist()
    values = times.tolist()

    def full(value: float) -> Tensor:
        return torch.full((z.shape[0],), value, dtype=torch.float64, device=z.device)

    for number, (start, end) in enumerate(pairwise(values)):
        length = full(start - end) if objective.needs.step else None
        yield Step(number, start, end, full(start), full(end), length, clock[number + 1] - clock[number])

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
from objectives.paths import Path

OnStep = Callable[[int, float, Tensor], Tensor | None]
"""on_step(steps done, path time, z), called after every step; a tensor that it returns takes z's place."""


class Solver(ABC):
    """Integrates an objective's ODE over a grid of path times."""

    version: ClassVar[int] = 1
    name: ClassVar[str]
    deterministic: ClassVar[bool] = True
    """Whether it solves the ODE, so that a sample is a function of its noise."""

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
        """z at the last of the `times` ((N+1,) float64 path times), from z at the first.

        The times descend, and the step onto t = 0, where heads and rates of a path may be singular, evaluates nothing
        there. A deterministic solver also takes times that rise, from above 0.
        """


@dataclass(frozen=True)
class Step:
    """One step of a grid, from path time `start` to `end`; as tensors (B,) float64 `t` and `next_t`.

    `length` is d = start − end (B,) where the objective conditions on it, else None; `tau` is τ at the start and
    `change` the change of τ.
    """

    number: int
    start: float
    end: float
    t: Tensor
    next_t: Tensor
    length: Tensor | None
    tau: float
    change: float

    def inside(self, path: Path, share: float) -> Tensor:
        """(B,) path times at a share of the change of τ."""
        return path.time(torch.full_like(self.t, self.tau + share * self.change))


def walk(objective: Objective, z: Tensor, times: Tensor) -> Iterator[Step]:
    """The steps of a grid for a batch like z."""
    clock = objective.path.clock(times).tolist()
    values = times.tolist()

    def full(value: float) -> Tensor:
        return torch.full((z.shape[0],), value, dtype=torch.float64, device=z.device)

    for number, (start, end) in enumerate(pairwise(values)):
        length = full(start - end) if objective.needs.step else None
        yield Step(number, start, end, full(start), full(end), length, clock[number], clock[number + 1] - clock[number])


def report(on_step: OnStep | None, step: Step, z: Tensor) -> Tensor:
    """Tell that a step is done; z, or what takes its place."""
    given = None if on_step is None else on_step(step.number + 1, step.end, z)
    return z if given is None else given

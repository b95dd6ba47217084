"""Sampling: from noise to data, network evaluations counted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, overload

import torch
from torch import Tensor

from objectives.base import Network, Objective
from objectives.condition import Condition
from objectives.draws import AnyDraws
from objectives.guidance import Guidance
from objectives.solvers import SOLVERS, Solver
from objectives.solvers.base import OnStep
from objectives.time_grids import TIME_GRIDS, TimeGrid


class Counter:
    """Counts the rows that networks are asked for, and speaks to them in the dtype of their weights."""

    def __init__(self, dtype: torch.dtype | None) -> None:
        self.dtype, self.rows = dtype, 0

    def watch(self, network: Network) -> Network:
        """The network, counted."""

        def counted(z: Tensor, t: Tensor, condition: Condition = None, *step: Tensor) -> Tensor:
            self.rows += z.shape[0]
            if self.dtype is None or self.dtype == z.dtype:
                return network(z, t, condition, *step)
            own = [value.to(self.dtype) for value in (z, t, *step)]
            return network(own[0], own[1], condition, *own[2:]).to(z.dtype)

        return counted


@dataclass(frozen=True)
class Sampler:
    """An objective, a network, and how to go from one path time to another: checked once, used for a batch.

    Args:
        objective: what the network was trained with.
        network: network(z, t, condition, step=None).
        solver: a built-in solver's name or a solver; None: the objective's default.
        guidance: w or a Guidance; 1 means none.
        grid: a built-in time grid's name or a time grid; None: the objective's own.
        network_dtype: what the network is fed, where its weights are not of the noise's dtype.

    Raises:
        ValueError: a solver or a grid that the objective does not take.
    """

    objective: Objective
    network: Network
    solver: str | Solver | None = None
    guidance: float | Guidance = 1.0
    grid: str | TimeGrid | None = None
    network_dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        self.chosen.check(self.objective)
        if self.chosen_grid is not None:
            self.chosen_grid.check(self.objective)

    @property
    def chosen(self) -> Solver:
        """The solver."""
        if isinstance(self.solver, Solver):
            return self.solver
        allowed = self.objective.solvers
        name = allowed[0] if self.solver is None else self.solver.lower()
        if name not in SOLVERS or name not in allowed:
            raise ValueError(
                f"{self.objective.notation} cannot be sampled with {self.solver!r}; allowed: {', '.join(allowed)}"
            )
        return SOLVERS[name]()

    @property
    def chosen_grid(self) -> TimeGrid | None:
        """The time grid, None for the objective's own."""
        if self.grid is None or isinstance(self.grid, TimeGrid):
            return self.grid
        if self.grid.lower() not in TIME_GRIDS:
            raise ValueError(f"no time grid is called {self.grid!r}; known: {', '.join(TIME_GRIDS)}")
        return TIME_GRIDS[self.grid.lower()]()

    def times(self, steps: int) -> Tensor:
        """(steps+1,) float64 path times, descending to 0."""
        grid = self.chosen_grid
        return self.objective.time_grid(steps) if grid is None else grid.times(self.objective, steps)

    @torch.no_grad()
    def run(
        self,
        z: Tensor,
        times: Tensor,
        condition: Condition,
        *,
        draws: AnyDraws | None = None,
        on_step: OnStep | None = None,
    ) -> tuple[Tensor, int]:
        """(z at the last of the times, evaluations per sample) from z at the first."""
        counter = Counter(self.network_dtype)
        guidance = self.guidance if isinstance(self.guidance, Guidance) else Guidance(float(self.guidance))
        if guidance.reference is not None:
            guidance = replace(guidance, reference=counter.watch(guidance.reference))
        network = guidance.wrap(counter.watch(self.network), condition, self.objective.label_time)
        z = self.chosen.solve(self.objective, network, z, times, condition, draws=draws, on_step=on_step)
        return z, counter.rows // max(len(z), 1)


@overload
def sample(
    objective: Objective,
    network: Network,
    noise: Tensor,
    condition: Condition,
    *,
    steps: int,
    solver: str | Solver | None = None,
    guidance: float | Guidance = 1.0,
    grid: str | TimeGrid | None = None,
    network_dtype: torch.dtype | None = None,
    draws: AnyDraws | None = None,
    on_step: OnStep | None = None,
    return_nfe: Literal[False] = False,
) -> Tensor: ...


@overload
def sample(
    objective: Objective,
    network: Network,
    noise: Tensor,
    condition: Condition,
    *,
    steps: int,
    solver: str | Solver | None = None,
    guidance: float | Guidance = 1.0,
    grid: str | TimeGrid | None = None,
    network_dtype: torch.dtype | None = None,
    draws: AnyDraws | None = None,
    on_step: OnStep | None = None,
    return_nfe: Literal[True],
) -> tuple[Tensor, int]: ...


def sample(
    objective: Objective,
    network: Network,
    noise: Tensor,
    condition: Condition,
    *,
    steps: int,
    solver: str | Solver | None = None,
    guidance: float | Guidance = 1.0,
    grid: str | TimeGrid | None = None,
    network_dtype: torch.dtype | None = None,
    draws: AnyDraws | None = None,
    on_step: OnStep | None = None,
    return_nfe: bool = False,
) -> Tensor | tuple[Tensor, int]:
    """Samples from standard normal noise, in the noise's dtype; times and their coefficients are float64.

    Args:
        objective: what the network was trained with.
        network: network(z, t, condition, step=None).
        noise: (B, …) standard normal.
        condition: None or a dict of tensors with leading B.
        steps: number of solver steps.
        solver: a built-in solver's name or a solver; None: the objective's default.
        guidance: w or a Guidance; 1 means none.
        grid: a built-in time grid's name or a time grid; None: the objective's own.
        network_dtype: what the network is fed where that is not the noise's dtype: float64 noise and a float32
            network give float64 arithmetic around float32 evaluations.
        draws: random numbers, for stochastic solvers.
        on_step: called as on_step(steps done, path time, z) after every step; a tensor that it returns replaces z.
        return_nfe: hand back the number of network evaluations per sample too (two per guided call).

    Returns:
        (B, …) samples, or (samples, evaluations).

    Raises:
        ValueError: an illegal number of steps, solver or grid; guidance without a condition.
    """
    sampler = Sampler(objective, network, solver, guidance, grid, network_dtype)
    times = sampler.times(steps)
    z, evaluations = sampler.run(objective.prior(noise), times, condition, draws=draws, on_step=on_step)
    return (z, evaluations) if return_nfe else z

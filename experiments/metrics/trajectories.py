"""The ways that samples go from noise to data, as far as their lengths tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from experiments.metrics.base import Measuring, Model
from objectives import Objective
from objectives.solvers import SOLVERS, Solver


class Trajectories(NamedTuple):
    """B ways of N steps from the prior to a sample, of `size` elements each.

    `moves` (B, N): ‖z_{i+1} − z_i‖ by step; `chords` (B,): ‖z_N − z_0‖; `shares` (N,): the steps' shares of the whole
    change of τ. All are float64 on the CPU.
    """

    moves: Tensor
    chords: Tensor
    shares: Tensor
    size: int


def check(objective: Objective, solver: Solver | None, steps: int) -> None:
    """Refuse what has no trajectories.

    Raises:
        ValueError: a solver (None: the objective's own) that does not serve the objective, or that adds noise on its
            way; an illegal number of steps.
    """
    chosen = SOLVERS[objective.solvers[0]]() if solver is None else solver
    chosen.check(objective)
    if not chosen.deterministic:
        raise ValueError(
            f"{objective.notation} is sampled with {chosen.name}, which adds noise between its steps: there is no "
            "trajectory"
        )
    objective.time_grid(steps)


@torch.no_grad()
def trajectories(
    model: Model, how: Measuring, *, num: int, steps: int, solver: Solver | None
) -> Iterator[Trajectories]:
    """Those of `num` samples in batches, without guidance, from the noise of an evaluation with the same seed."""
    sampler = model.sampler(weights=how.weights, solver=solver)
    times = sampler.times(steps)
    change = sampler.objective.path.clock(times).diff()
    for batch in how.starts(model, num):
        first = sampler.objective.prior(batch.x)
        way = _Way(first)
        last, _ = sampler.run(first, times, batch.condition, draws=batch.draws, on_step=way.go)
        yield Trajectories(
            torch.stack(way.moves, dim=1).cpu(), _norm(last - first).cpu(), change / change.sum(), first[0].numel()
        )


class _Way:
    """Where a batch is, and how far it came in each step."""

    def __init__(self, first: Tensor) -> None:
        self.here, self.moves = first, list[Tensor]()

    def go(self, done: int, time: float, z: Tensor) -> None:
        self.moves.append(_norm(z - self.here))
        self.here = z


def _norm(x: Tensor) -> Tensor:
    """(B,) Euclidean norms in float64."""
    return x.flatten(1).double().norm(dim=1)

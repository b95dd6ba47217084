"""Sampling: from noise to data, network evaluations counted."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor

from objectives.base import Network, Objective
from objectives.condition import Condition
from objectives.draws import AnyDraws
from objectives.guidance import Guidance
from objectives.solvers import SOLVERS, Solver
from objectives.solvers.base import OnStep


class _Counted:
    """A network that counts the rows it is asked for."""

    def __init__(self, network: Network) -> None:
        self.network, self.rows = network, 0

    def __call__(self, z: Tensor, *arguments: Tensor | Condition) -> Tensor:
        self.rows += z.shape[0]
        return self.network(z, *arguments)


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
    draws: AnyDraws | None = None,
    on_step: OnStep | None = None,
    return_nfe: Literal[True],
) -> tuple[Tensor, int]: ...


@torch.no_grad()
def sample(
    objective: Objective,
    network: Network,
    noise: Tensor,
    condition: Condition,
    *,
    steps: int,
    solver: str | Solver | None = None,
    guidance: float | Guidance = 1.0,
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
        draws: random numbers, for stochastic solvers.
        on_step: called as on_step(steps done, path time, z) after every step.
        return_nfe: hand back the number of network evaluations per sample too (two per guided call).

    Returns:
        (B, …) samples, or (samples, evaluations).

    Raises:
        ValueError: an illegal number of steps or solver; guidance without a condition.
    """
    chosen = _solver(objective, solver)
    times = objective.time_grid(steps)
    counted = _Counted(network)
    guidance = guidance if isinstance(guidance, Guidance) else Guidance(float(guidance))
    guided = guidance.wrap(counted, condition, objective.label_time)
    z = chosen.solve(objective, guided, objective.prior(noise), times, condition, draws=draws, on_step=on_step)
    return (z, counted.rows // max(len(noise), 1)) if return_nfe else z


def _solver(objective: Objective, solver: str | Solver | None) -> Solver:
    if isinstance(solver, Solver):
        chosen = solver
    else:
        name = objective.solvers[0] if solver is None else solver.lower()
        if name not in SOLVERS or name not in objective.solvers:
            allowed = ", ".join(objective.solvers)
            raise ValueError(f"{objective.notation} cannot be sampled with {solver!r}; allowed: {allowed}")
        chosen = SOLVERS[name]()
    chosen.check(objective)
    return chosen

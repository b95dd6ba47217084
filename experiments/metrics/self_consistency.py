"""Self-consistency: whether a long step goes where two half steps go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from experiments.config.marks import Range
from experiments.metrics.base import Measuring, Model, ModelMetric
from objectives import Objective
from objectives.base import Network
from objectives.condition import Condition
from objectives.heads.base import rows

Count = Annotated[int, Range(at_least=1)]


@dataclass(frozen=True)
class SelfConsistency(ModelMetric):
    """Self-consistency error per step size: how far a step's velocity is off the mean over its two half steps.

    √(E‖v(z, t, d) − v̄‖² / E‖v(z, t, d)‖²), with v̄ = (Δ₁·v₁ + Δ₂·v₂)/(Δ₁ + Δ₂), v₁ = v(z, t, d/2),
    v₂ = v(z − Δ₁·v₁, t − d/2, d/2), and Δ₁, Δ₂ the half steps' parts of τ: on the straight path both are d/2, and v̄ is
    the plain mean. z = a(t)·x + b(t)·ε for held-out x under their own conditions, and t is each of the n starts of a
    grid of n steps equally often. 0 of a flow map, 1/2 of a network that moves in proportion to d². The two half
    steps are the measured weights' own, without guidance: where the training guided its finest steps, the step of two
    of those shows the guidance too.
    Source: Frans et al. 2025 (shortcut models), eq. 4.

    Args:
        steps: numbers of steps n, each a length d = 1/n of the path. Lengths that the objective has not, or not of
            half the size, are left out.
        num: held-out rows.

    Raises:
        ValueError: an argument out of range.
    """

    steps: tuple[Count, ...] = (1, 2, 4, 8, 16, 32, 64)
    num: Count = 1024

    def __post_init__(self) -> None:
        if self.num < 1 or not self.steps or min(self.steps) < 1 or len(set(self.steps)) < len(self.steps):
            raise ValueError(
                f"takes different numbers of steps and a number of rows, each at least 1, got steps={self.steps}, "
                f"num={self.num}"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(_column(steps) for steps in self.steps)

    def check(self, objective: Objective) -> None:
        if not objective.needs.step:
            raise ValueError(f"{objective.notation} is not told a step's length, and so has no steps to compare")
        if not self._grids(objective):
            given = ", ".join(map(str, self.steps))
            raise ValueError(f"{objective.notation} has no steps that are one of {given} of the path and can be halved")

    @torch.no_grad()
    def __call__(self, model: Model, how: Measuring) -> dict[str, float]:
        objective, network = model.objective, how.network(model)
        grids = self._grids(objective)
        sums = {steps: torch.zeros(2, dtype=torch.float64) for steps in grids}
        for batch in how.heldout(model, self.num):
            noise = batch.draws.normal("noise", batch.x.shape, how.dtype)
            for steps, grid in grids.items():
                place = 2 * batch.draws.cycle("interval", steps)
                t, middle, end = (grid.to(model.device)[place + i] for i in range(3))
                a, b = (rows(part(t), noise) for part in (objective.path.a, objective.path.b))
                both = compare(objective, network, a * batch.x + b * noise, t, middle, end, batch.condition)
                sums[steps] += torch.stack([part.double().square().sum() for part in both]).cpu()
        return {_column(steps): float((error / size).sqrt()) for steps, (error, size) in sums.items()}

    def _grids(self, objective: Objective) -> dict[int, Tensor]:
        """By number of steps the times of their half steps, where they are times of the objective's own."""
        found = {}
        for steps in self.steps:
            try:
                whole, halves = objective.time_grid(steps), objective.time_grid(2 * steps)
            except ValueError:
                continue
            if torch.allclose(halves[::2], whole, rtol=0, atol=1e-12):
                found[steps] = halves
        return found


def compare(
    objective: Objective, network: Network, z: Tensor, t: Tensor, middle: Tensor, end: Tensor, condition: Condition
) -> tuple[Tensor, Tensor]:
    """(v − v̄, v), each (B, …): the velocity of the step from t to `end` less that of two steps by `middle`, and it.

    Args:
        z: (B, …) on the path at times t.
        t, middle, end: (B,) float64 path times, falling.
    """
    own = objective.velocity(network, z, t, condition, t - end)
    clock = objective.path.clock
    first_change, second_change = (rows(clock(high) - clock(low), z) for high, low in ((t, middle), (middle, end)))
    first = objective.velocity(network, z, t, condition, t - middle)
    second = objective.velocity(network, z - first_change * first, middle, condition, middle - end)
    return own - (first_change * first + second_change * second) / (first_change + second_change), own


def _column(steps: int) -> str:
    return f"self_consistency_step_{1 / steps:g}"

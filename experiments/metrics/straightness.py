"""Straightness: how far the velocity along a sample's way is from constant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from experiments.config.marks import Range
from experiments.metrics import trajectories
from experiments.metrics.base import Measuring, Model, ModelMetric
from objectives import Objective
from objectives.solvers import Solver


@dataclass(frozen=True)
class Straightness(ModelMetric):
    """Straightness of samples' ways: how much their velocity varies; 0 where one step goes where many do.

    S = ∫ E‖(Z_1 − Z_0) − dZ_s/ds‖² ds, s going from 0 to 1 as τ goes from noise to data. Over N solver steps with
    shares Δ_i of the change of τ it is Σ Δ_i·E‖(z_N − z_0) − (z_{i+1} − z_i)/Δ_i‖², which is
    Σ E‖z_{i+1} − z_i‖²/Δ_i − E‖z_N − z_0‖². `straightness` is that per element of a sample, in the data's units
    squared; `straightness_relative` is its ratio to E‖z_N − z_0‖². Smaller is straighter; a line that is not gone
    along at one speed counts as curved, since a step by its velocity would miss. Few steps hide what happens within
    them: the number of steps belongs to the number. Without guidance.
    Source: Liu et al. 2022 (rectified flow), their S(Z), up to the division.

    Args:
        steps: of the solver, at least 2.
        num: samples.
        solver: one that follows the flow; null for the objective's own.

    Raises:
        ValueError: an argument out of range.
    """

    steps: Annotated[int, Range(at_least=2)] = 50
    num: Annotated[int, Range(at_least=1)] = 256
    solver: Solver | None = None

    def __post_init__(self) -> None:
        if self.num < 1 or self.steps < 2:
            raise ValueError(f"takes at least 2 steps and 1 sample, got steps={self.steps}, num={self.num}")

    @property
    def columns(self) -> tuple[str, ...]:
        return "straightness", "straightness_relative"

    def check(self, objective: Objective) -> None:
        trajectories.check(objective, self.solver, self.steps)

    def __call__(self, model: Model, how: Measuring) -> dict[str, float]:
        bent = chord = 0.0
        size = 1
        for part in trajectories.trajectories(model, how, num=self.num, steps=self.steps, solver=self.solver):
            squares = part.chords.square()
            bent += float(((part.moves.square() / part.shares).sum(1) - squares).sum())
            chord += float(squares.sum())
            size = part.size
        relative = bent / chord if chord else math.nan
        return dict(zip(self.columns, (bent / self.num / size, relative), strict=True))

"""Path length: how much longer than the chord the way of a sample is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from experiments.config.marks import Range
from experiments.metrics import trajectories
from experiments.metrics.base import Measuring, Model, ModelMetric
from objectives import Objective
from objectives.solvers import Solver


@dataclass(frozen=True)
class PathLength(ModelMetric):
    """Path length E Σ‖z_{i+1} − z_i‖ of samples' ways from noise to data, and its ratio to the chord's E‖z_N − z_0‖.

    The length is in the data's units over all elements of a sample, as in SD3's table 6, where Euler's steps make it
    Σ‖v·dt‖; the ratio, which has no units, is 1 where every sample goes straight ahead, however fast, and never less.
    One step is a chord: the number of steps belongs to the number. Without guidance.
    Source: Esser et al. 2024 (SD3), table 6, at 50 steps.

    Args:
        steps: of the solver.
        num: samples.
        solver: one that follows the flow; null for the objective's own.

    Raises:
        ValueError: an argument out of range.
    """

    steps: Annotated[int, Range(at_least=1)] = 50
    num: Annotated[int, Range(at_least=1)] = 256
    solver: Solver | None = None

    def __post_init__(self) -> None:
        if self.num < 1 or self.steps < 1:
            raise ValueError(f"takes at least 1 step and 1 sample, got steps={self.steps}, num={self.num}")

    @property
    def columns(self) -> tuple[str, ...]:
        return "path_length", "path_length_ratio"

    def check(self, objective: Objective) -> None:
        trajectories.check(objective, self.solver, self.steps)

    def __call__(self, model: Model, how: Measuring) -> dict[str, float]:
        length = chord = 0.0
        for part in trajectories.trajectories(model, how, num=self.num, steps=self.steps, solver=self.solver):
            length += float(part.moves.sum())
            chord += float(part.chords.sum())
        ratio = length / chord if chord else float("nan")
        return dict(zip(self.columns, (length / self.num, ratio), strict=True))

"""Teacher–student gap: how far few steps of a student end from many steps of its teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from experiments.batches import Batch
from experiments.config import averages
from experiments.config.marks import Pattern, Range
from experiments.errors import UserError
from experiments.metrics.base import Measuring, Model, ModelMetric
from objectives import Objective
from objectives.sampling import Sampler

Count = Annotated[int, Range(at_least=1)]


@dataclass(frozen=True)
class TeacherGap(ModelMetric):
    """Teacher–student gap: RMS distance of samples from equal noise and conditions, over the data's deviation.

    √(E‖x_S − x_T‖²/D)/σ_data for samples of D elements: x_S in each of the student's few numbers of steps, x_T always
    in the teacher's many. 0 of a perfect student; about √2 at most of samples that are as good but know nothing of one
    another. Without guidance on either side: a student of a guided teacher shows the guidance too. A student that adds
    noise between its steps is far from any teacher but at one step.
    Source: what distillation minimises (Luhman and Luhman 2021), at the samples.

    Args:
        steps: the student's, each a number of its own.
        teacher_steps: the teacher's.
        run: folder of the run that is the teacher; null for the frozen teacher that the student was trained with.
        weights: of that run; of a frozen teacher those that taught.
        num: samples.

    Raises:
        ValueError: an argument out of range.
    """

    steps: tuple[Count, ...] = (1, 4)
    teacher_steps: Count = 128
    run: str | None = None
    weights: Annotated[str, Pattern(averages.PATTERN, averages.TOLD)] = "ema"
    num: Count = 256

    def __post_init__(self) -> None:
        counts = (*self.steps, self.teacher_steps, self.num)
        if not self.steps or min(counts) < 1 or len(set(self.steps)) < len(self.steps):
            raise ValueError(
                "takes different numbers of steps, and numbers of the teacher's steps and of samples, each at least 1, "
                f"got steps={self.steps}, teacher_steps={self.teacher_steps}, num={self.num}"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(f"teacher_gap_{steps}" for steps in self.steps)

    def check(self, objective: Objective) -> None:
        for steps in self.steps:
            objective.time_grid(steps)
        if self.run is None and objective.needs.teacher not in ("frozen", "phases"):
            raise ValueError(f"{objective.notation} learns from no frozen teacher; name one: teacher_gap(run=FOLDER)")

    def check_model(self, model: Model) -> None:
        self._teacher(model)

    @torch.no_grad()
    def __call__(self, model: Model, how: Measuring) -> dict[str, float]:
        student, teacher = model.sampler(weights=how.weights), self._teacher(model)
        sums = torch.zeros(len(self.steps), dtype=torch.float64)
        for batch in how.starts(model, self.num):
            wanted = _sample(teacher, batch, self.teacher_steps)
            gaps = [(_sample(student, batch, steps) - wanted).double() for steps in self.steps]
            sums += torch.stack([gap.square().flatten(1).mean(1).sum() for gap in gaps]).cpu()
        found = (sums / self.num).sqrt() / model.data.spec.data_std
        return dict(zip(self.columns, found.tolist(), strict=True))

    def _teacher(self, model: Model) -> Sampler:
        teacher = model.teacher(self.run, self.weights)
        if teacher is None:
            raise UserError(f"teacher_gap: {model.objective.notation} had no frozen teacher; name a run: (run=FOLDER).")
        try:
            teacher.times(self.teacher_steps)
        except ValueError as error:
            raise UserError(f"teacher_gap: teacher_steps={self.teacher_steps}: {error}") from error
        return teacher


def _sample(sampler: Sampler, batch: Batch, steps: int) -> Tensor:
    first = sampler.objective.prior(batch.x)
    return sampler.run(first, sampler.times(steps), batch.condition, draws=batch.draws)[0]

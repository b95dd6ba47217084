"""The held-out loss by time and by step length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from experiments.config.marks import Range
from experiments.errors import UserError
from experiments.metrics.base import Measuring, Model, ModelMetric
from experiments.training.tables import LEVELS, length, levels, table
from objectives import Objective
from objectives.base import stand_ins
from objectives.sampling import Counter, Sampler

Count = Annotated[int, Range(at_least=1)]


@dataclass(frozen=True)
class LossTable(ModelMetric):
    """The objective's own loss on held-out rows, its mean in each bin of (t, d).

    It is the training's, weights, dropped conditions and all, with times and step lengths as they are drawn at the end
    of it: where in time, and for steps of what length, is it large? Columns are `loss_t0.25-0.5_step_0.125`, t from
    0.25 to 0.5 and d nearest to 1/8 among powers of two, 0 for a step of no length; without the step where the
    objective tells none. Bins that are never met are left out. Where the training's teacher is an average, the
    measured weights are their own teacher; a frozen one is the one that taught.
    Source: Frans et al. 2025 (shortcut models), whose public code plots the loss by t and d.

    Args:
        times: bins of time, of equal width.
        num: held-out rows.
        rounds: how often each row is asked about, with other noise, time and step each time.

    Raises:
        ValueError: an argument out of range.
    """

    times: Count = 4
    num: Count = 1024
    rounds: Count = 4

    def __post_init__(self) -> None:
        if min(self.times, self.num, self.rounds) < 1:
            given = f"times={self.times}, num={self.num}, rounds={self.rounds}"
            raise ValueError(f"takes counts of at least 1, got {given}")

    @property
    def columns(self) -> tuple[str, ...]:
        of_time = tuple(f"loss_t{i / self.times:g}-{(i + 1) / self.times:g}" for i in range(self.times))
        return of_time + tuple(f"{name}_step_{length(level):g}" for name in of_time for level in range(LEVELS + 2))

    def check(self, objective: Objective) -> None:
        if objective.needs.pairs:
            raise ValueError(f"{objective.notation} learns from pairs with noise, and held-out rows have none")
        if objective.needs.teacher == "phases":
            raise ValueError(f"{objective.notation} learned from a teacher in phases, and its last one is not kept")

    def check_model(self, model: Model) -> None:
        if model.objective.needs.teacher == "frozen":
            _teacher(model)

    @torch.no_grad()
    def __call__(self, model: Model, how: Measuring) -> dict[str, float]:
        objective, network = model.objective, how.network(model)
        parts: dict[str, Any] = stand_ins(objective, network)
        if objective.needs.teacher == "frozen":
            teacher = _teacher(model)
            parts["teacher"] = Counter(teacher.network_dtype).watch(teacher.network)
        columns = self.columns
        sums = torch.zeros(2, len(columns), dtype=torch.float64)
        for step in range(self.rounds):
            for batch in how.heldout(model, self.num, multiple=objective.batch_multiple, step=step):
                loss = objective.loss(network, batch.x, batch.condition, batch.draws, progress=1.0, **parts)
                if loss.times is None:
                    raise UserError(f"loss_table: {objective.notation} does not tell the times of its losses.")
                bins = self._bins(loss.times, loss.steps)
                sums += table(loss.per_sample.double(), bins, len(columns)).cpu() * len(batch.x)
        count, total = sums
        return {name: float(total[i] / count[i]) for i, name in enumerate(columns) if count[i] > 0}

    def _bins(self, times: Tensor, steps: Tensor | None) -> Tensor:
        """(B,) which column each row belongs to."""
        of_time = (times * self.times).long().clamp(0, self.times - 1)
        return of_time if steps is None else self.times + of_time * (LEVELS + 2) + levels(steps)


def _teacher(model: Model) -> Sampler:
    teacher = model.teacher()
    if teacher is None:
        raise UserError(f"loss_table: {model.objective.notation} learned from a frozen teacher, and none is found.")
    return teacher

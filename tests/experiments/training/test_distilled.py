"""Every objective that learns from a trained flow, from one to a sample: as a user would, on points."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from experiments.console import Reporter
from experiments.evaluation.loaded import LoadedRun
from experiments.execute import execute
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training.fit import fit

POINTS: dict[str, Any] = {
    "data": {"name": "points", "distribution": "mixture", "size": 1000}, "backbone__width": 64, "ema__decays": [0.9],
    "schedule": "constant", "optimizer__lr": 3e-3, "trainer__batch_size": 256, "trainer__checkpoint_every": 1000,
    "trainer__validate_every": 1000, "evaluation__steps": [8],
}  # fmt: skip
STUDENTS = {
    "consistency_distillation": {"name": "consistency_distillation", "M": 8},
    "progressive_distillation": {"name": "progressive_distillation", "M": 8},
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, small_run: Callable[..., Run]) -> Run:
    """A rectified flow."""
    run = small_run(tmp_path_factory.mktemp("teacher"), objective="rf", trainer__max_steps=400, **POINTS)
    assert execute(run) == 0
    return run


def few_steps(run: Run, steps: int) -> torch.Tensor:
    return LoadedRun(run).sample(steps, num=512, weights="raw").x


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Root mean square distance between samples from equal noise."""
    return float((one - other).square().mean().sqrt())


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_takes_in_one_step_what_takes_its_teacher_many(
    make_run: Callable[..., Run], teacher: Run, name: str
) -> None:
    student = make_run(
        objective=STUDENTS[name], teacher=str(teacher.path), start=str(teacher.path), trainer__max_steps=600, **POINTS
    )
    fit(student, stop=Stop(), reporter=Reporter("none"))
    many, own, before = few_steps(teacher, 8), few_steps(student, 1), few_steps(teacher, 1)
    assert apart(own, many) < apart(before, many) / 3
    losses = [value for _, key, value in student.metrics() if key == "train/loss_distillation"]
    assert losses
    assert all(map(math.isfinite, losses))


def test_live_reflow_has_both_flows_in_one_network(make_run: Callable[..., Run], teacher: Run) -> None:
    both = make_run(objective={"name": "live_reflow", "k": 0.25, "M": 8}, trainer__max_steps=600, **POINTS)
    fit(both, stop=Stop(), reporter=Reporter("none"))
    one, many = few_steps(both, 1), few_steps(both, 8)
    assert apart(one, many) < apart(few_steps(teacher, 1), few_steps(teacher, 8)) / 2

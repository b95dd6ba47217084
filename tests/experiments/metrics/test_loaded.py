"""The diagnostics of trained runs, as an evaluation asks for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import experiments
from experiments.console import Reporter
from experiments.errors import Interrupted, UserError
from experiments.evaluation.evaluate import evaluate
from experiments.evaluation.loaded import LoadedRun
from experiments.execute import execute
from experiments.metrics import LossTable, Measuring, PathLength, SelfConsistency, Straightness, TeacherGap
from experiments.report.tables import name
from experiments.runs import Run

MakeRun = Callable[..., Run]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("diagnosed")


@pytest.fixture(scope="module")
def shortcut(root: Path, small_run: MakeRun) -> LoadedRun:
    """A shortcut MLP on digits with labels, a few steps trained."""
    run = small_run(root, data="digits", objective={"name": "shortcut", "M": 16})
    assert execute(run) == 0
    return experiments.load(run.path, device="cpu")


@pytest.fixture(scope="module")
def flow(root: Path, small_run: MakeRun) -> LoadedRun:
    """Flow matching on the same data."""
    run = small_run(root, data="digits")
    assert execute(run) == 0
    return experiments.load(run.path, device="cpu")


def test_an_evaluation_has_them_by_name_in_each_of_its_weights(shortcut: LoadedRun) -> None:
    asked = [
        "diversity", "self_consistency(num=40)", "loss_table(rounds=2,num=40)", "path_length(steps=8,num=10)",
        "straightness(steps=8,num=10)", f"teacher_gap(run={shortcut.run.path},teacher_steps=8,num=10,steps=[1,8])",
    ]  # fmt: skip
    result = shortcut.evaluate(steps=[1, 8], weights=["ema", "raw"], num=40, metrics=asked)
    for row in result["rows"]:
        assert 0 <= row["diversity_within_class"] < 10
        assert 0 <= row["diversity"] < 10
    ema, raw = result["validation"]
    for entry in (ema, raw):
        assert [key for key in entry if key.startswith("self_consistency")] == [
            f"self_consistency_step_{d}" for d in ("1", "0.5", "0.25", "0.125")
        ]
        assert entry["path_length_ratio"] >= 1
        assert entry["straightness_relative"] >= 0
        further = {key: value for key, value in entry.items() if key not in ("weights", "times", "loss", "mean")}
        assert all(math.isfinite(value) for value in further.values())
        assert all(name(key) != key.replace("_", " ").capitalize() for key in further if key != "path_length")
    assert ema["teacher_gap_8"] == 0  # the averaged weights are their own teacher
    assert raw["teacher_gap_8"] > 0
    assert ema["loss_t0.75-1_step_1"] != raw["loss_t0.75-1_step_1"]


def test_the_samples_that_are_measured_are_those_that_are_drawn(shortcut: LoadedRun, flow: LoadedRun) -> None:
    few, many = shortcut.sample(1, num=20, seed=5), flow.sample(16, num=20, seed=5)
    gap = float((few.x - many.x).square().mean().sqrt()) / shortcut.data.spec.data_std
    metric = TeacherGap(steps=(1,), teacher_steps=16, run=str(flow.run.path), num=20)
    found = metric(shortcut, Measuring(seed=5, batch_size=7))
    assert found["teacher_gap_1"] == pytest.approx(gap, rel=1e-4)


def test_the_dtype_is_that_of_the_arithmetic_around_the_network(shortcut: LoadedRun) -> None:
    for metric in (
        SelfConsistency(num=20), Straightness(steps=8, num=8), PathLength(steps=8, num=8), LossTable(num=20),
        TeacherGap(run=str(shortcut.run.path), weights="raw", teacher_steps=8, num=8),
    ):  # fmt: skip
        single, double = (metric(shortcut, Measuring(dtype=dtype)) for dtype in (torch.float32, torch.float64))
        assert double == pytest.approx(single, rel=1e-3, abs=1e-6)
        assert double != single


def test_a_frozen_teacher_is_found_by_the_configuration(root: Path, small_run: MakeRun, flow: LoadedRun) -> None:
    run = small_run(root, data="digits", objective="consistency_distillation", teacher=str(flow.run.path))
    assert execute(run) == 0
    student = experiments.load(run.path, device="cpu")
    teacher = student.teacher()
    assert teacher is not None
    own = flow.sampler(weights="ema").network.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in teacher.network.state_dict().items())
    by_path = TeacherGap(steps=(1,), teacher_steps=8, run=str(flow.run.path), num=10)
    by_configuration = TeacherGap(steps=(1,), teacher_steps=8, num=10)
    assert by_configuration(student, Measuring()) == by_path(student, Measuring())
    assert all(map(math.isfinite, LossTable(num=40, rounds=1)(student, Measuring()).values()))


def test_what_cannot_be_measured_is_refused_before_anything_is(flow: LoadedRun, root: Path, small_run: MakeRun) -> None:
    before = sorted(flow.run.path.rglob("*"))
    points = small_run(root)
    assert execute(points) == 0
    for asked, told in (
        ("self_consistency", "not told a step's length"),
        ("teacher_gap", "no frozen teacher; name one"),
        (f"teacher_gap(run={root}/nowhere)", "nowhere"),
        (f"teacher_gap(run={points.path})", "data of one shape"),
        ("path_length(solver=edm_stochastic)", "edm_stochastic"),
    ):
        with pytest.raises(UserError, match=told):
            flow.evaluate(metrics=[asked], steps=[1], num=8)
    assert sorted(flow.run.path.rglob("*")) == before
    assert flow.teacher() is None


def test_a_stop_ends_them_between_batches(flow: LoadedRun) -> None:
    class Late:
        """Stops when it is asked for the third time."""

        asked = 0

        def check(self) -> None:
            self.asked += 1
            if self.asked == 3:
                raise Interrupted("stopped")

    settings: Any = replace(
        flow.config.evaluation, steps=(), weights=("raw",), metrics=("path_length(num=100)",), batch_size=10
    )
    stop: Any = Late()
    with pytest.raises(Interrupted):
        evaluate(flow, settings, reporter=Reporter("none"), stop=stop)
    assert stop.asked == 3

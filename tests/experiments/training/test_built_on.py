"""Teachers and starting weights from other runs: the right network teaches at each step, interrupted or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from experiments.console import Reporter
from experiments.errors import Interrupted, UserError
from experiments.evaluation.loaded import LoadedRun
from experiments.execute import execute
from experiments.memory import memory_plan
from experiments.other_runs import located
from experiments.runs import Run, child
from experiments.stopping import Stop
from experiments.training import checkpoints
from experiments.training.fit import fit
from experiments.training.module import TrainingModule

MakeRun = Callable[..., Run]
pytestmark = pytest.mark.usefixtures("taught")


class Watch(Callback):
    """Keeps the weights of student and teacher before each step, and stops in the course of one (counted from 1)."""

    def __init__(self, stop: Stop, stop_in: int | None = None):
        self.stop, self.stop_in = stop, stop_in
        self.students: list[dict[str, torch.Tensor]] = []
        self.teachers: list[dict[str, torch.Tensor]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, TrainingModule)
        self.students.append(copied(pl_module.backbone))
        self.stop.requested = self.stop.requested or pl_module.step + 1 == self.stop_in

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, TrainingModule)
        teachers = pl_module.teachers
        taught = teachers.former if teachers.phase else teachers.trained
        if taught is None:
            return
        assert not taught.training
        assert not taught.network.training
        assert not any(parameter.requires_grad for parameter in taught.parameters())
        self.teachers.append(copied(taught.network))


def copied(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def train(run: Run, stop_in: int | None = None) -> Watch:
    watch = Watch(stop := Stop(), stop_in)
    try:
        fit(run, stop=stop, reporter=Reporter("none"), extra=[watch])
    except Interrupted:
        assert stop_in is not None
    return watch


def state(run: Run) -> dict[str, Any]:
    return checkpoints.newest(run.checkpoints).state


def flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {name: leaf for key, item in items for name, leaf in flat(item, f"{path}/{key}").items()}
    return {path: value}


def assert_alike(one: Run, other: Run) -> None:
    own, its = flat(state(one)), flat(state(other))
    assert own.keys() == its.keys()
    for name, value in own.items():
        assert torch.equal(value, its[name]) if isinstance(value, torch.Tensor) else value == its[name], name
    for name in ("train/loss", "train/target"):
        rows = [[row for row in run.metrics() if row[1] == name] for run in (one, other)]
        assert rows[0] == rows[1] != []


@pytest.fixture
def teacher(make_run: MakeRun) -> Run:
    """A finished run, with a network wider than the students'."""
    run = make_run(backbone__width=24, seed=5, trainer__validate_every=4)
    assert execute(run) == 0
    return run


@pytest.mark.parametrize("weights", ["ema", "raw", "best"])
def test_the_teacher_is_the_named_runs_network_and_stays_so(make_run: MakeRun, teacher: Run, weights: str) -> None:
    student = make_run(objective="frozen", teacher={"run": str(teacher.path), "weights": weights})
    seen = train(student).teachers
    wanted = LoadedRun(teacher).network(weights).state_dict()
    assert len(seen) == 12
    assert all(equal(one, wanted) for one in seen)
    assert "teacher" not in state(student)
    assert {path.split("/")[2] for path in flat(state(student)["backbone"], "/backbone")} == set(
        state(student)["backbone"]
    )
    assert len(state(student)["emas"]) == 1


def test_the_student_learns_what_its_teacher_says(make_run: MakeRun, teacher: Run) -> None:
    student = make_run(
        objective="frozen", teacher=str(teacher.path), start=None, trainer__max_steps=300, optimizer__lr=1e-2
    )
    train(student)
    losses = [value for _, name, value in student.metrics() if name == "train/loss"]
    assert losses[-1] < 0.1 * losses[0]


def test_an_objective_may_ask_for_its_own_average_beside_the_teacher(make_run: MakeRun, teacher: Run) -> None:
    own = make_run(objective="averaged", teacher=str(teacher.path))
    other = make_run("other", objective="frozen", teacher=str(teacher.path))
    for run in (own, other):
        train(run)
    rows = [[value for _, name, value in run.metrics() if name == "train/target_size"] for run in (own, other)]
    assert rows[0][0] < 0.9 * rows[1][0], "the average of a network that begins at zero halves the target"


def test_each_phase_is_taught_by_the_student_as_it_was_when_it_began(make_run: MakeRun, teacher: Run) -> None:
    student = make_run(objective="phased", teacher=str(teacher.path), trainer__max_steps=8, trainer__accumulate=2)
    watch = train(student)
    students, teachers = watch.students[::2], watch.teachers[::2]  # of two micro-batches each
    first = LoadedRun(teacher).network("ema").state_dict()
    begun = {0: first, 1: students[3], 2: students[6]}  # ⌈8/3⌉ and ⌈16/3⌉
    for step, seen in enumerate(teachers):
        assert equal(seen, begun[0 if step < 3 else 1 if step < 6 else 2]), step
    kept = state(student)["teacher"]
    assert kept["phase"] == 2
    assert equal(kept["weights"], students[6])


@pytest.mark.parametrize("objective", ["frozen", "averaged", "phased"])
def test_an_interrupted_run_with_a_teacher_ends_as_one_never_interrupted(
    make_run: MakeRun, teacher: Run, objective: str
) -> None:
    options = {"objective": objective, "teacher": str(teacher.path), "trainer__log_every": 1}
    whole, pieces = make_run(**options), make_run("again", **options)
    train(whole)
    for step in (2, 4, 6, 8, 10):  # phases of 4: a stop at the end of one, and inside each
        train(pieces, step)
        assert state(pieces)["step"] == step
    train(pieces)
    assert_alike(whole, pieces)


def test_a_finished_run_cannot_be_lengthened_by_phases(make_run: MakeRun, teacher: Run) -> None:
    student = make_run(objective="phased", teacher=str(teacher.path))
    train(student)
    longer = make_run("longer", objective="phased", teacher=str(teacher.path), trainer__max_steps=24).config
    with pytest.raises(UserError, match=r"max_steps=24.*phased trains in phases.*parts of 12.*start="):
        child(student, longer)


# -- start ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_a_run_begins_with_the_weights_that_it_names(make_run: MakeRun, precision: str) -> None:
    first = make_run(trainer__precision=precision)
    assert execute(first) == 0
    tuned = make_run(seed=3, trainer__precision=precision, start={"run": str(first.path), "weights": "raw"})
    assert tuned.path.name != make_run(seed=3, trainer__precision=precision).path.name
    began = train(tuned).students[0]
    kept = state(first)["backbone"]
    assert equal(began, kept)
    assert {tensor.dtype for tensor in began.values()} == {torch.float64 if precision == "64-true" else torch.float32}
    averaged = make_run("averaged", seed=3, start=str(first.path), trainer__precision=precision)
    assert equal(
        train(averaged).students[0],
        {name: value.to(next(iter(began.values())).dtype) for name, value in state(first)["emas"][0].items()},
    )


def test_a_shortcut_model_begins_where_the_flow_model_ended(make_run: MakeRun, teacher: Run) -> None:
    """What is there for the step's length keeps its initial value: zero at its end, so that nothing is added."""
    plain = make_run()
    assert execute(plain) == 0
    tuned = make_run(objective="shortcut", start=str(plain.path))
    own = make_run("scratch", objective="shortcut")
    began, scratch = train(tuned).students[0], train(own).students[0]
    given = state(plain)["emas"][0]
    rest = began.keys() - given.keys()
    assert rest
    assert all(torch.equal(began[name], scratch[name]) for name in rest)
    assert all(torch.equal(began[name], given[name]) for name in given)


def test_an_average_begins_there_too_and_a_resumed_run_does_not_begin_again(make_run: MakeRun) -> None:
    first = make_run()
    assert execute(first) == 0
    options = {"start": str(first.path), "seed": 4, "trainer__checkpoint_every": 1}
    whole, pieces = make_run(**options), make_run("again", **options)
    train(whole)
    for step in (1, 5):
        train(pieces, step)
    train(pieces)
    own, its = flat(state(whole)), flat(state(pieces))
    assert all(torch.equal(own[name], its[name]) for name in own if isinstance(own[name], torch.Tensor))
    stopped = make_run("stopped", **options, ema__decays=[0.5], ema__warmup=False)
    train(stopped, 1)
    given, now = state(first)["emas"][0], state(stopped)
    for name, average in now["emas"][0].items():
        torch.testing.assert_close(average, (given[name] + now["backbone"][name]) / 2)


# -- refused before anything is done ----------------------------------------------------------------------------------


def test_a_run_whose_teacher_is_gone_ends_with_code_2_and_leaves_nothing(
    make_run: MakeRun, teacher: Run, tmp_path: Path
) -> None:
    student = make_run(objective="frozen", teacher=str(teacher.path))
    teacher.path.rename(tmp_path / "elsewhere")
    assert execute(student) == 2
    assert "there is no such folder" in student.status["message"]
    assert not student.checkpoints.exists()
    (tmp_path / "elsewhere").rename(teacher.path)
    assert execute(student) == 0
    teacher.path.rename(tmp_path / "elsewhere")
    assert execute(student) == 0, "what is done asks for nothing"
    assert LoadedRun(student).sample(2, num=4).x.isfinite().all()


def test_the_memory_plan_counts_the_teacher_and_the_phases_copy(make_run: MakeRun, teacher: Run) -> None:
    own = memory_plan(make_run().config, 1)
    larger = memory_plan(teacher.config, 1)
    assert own.teachers == 0
    frozen, phased = (
        memory_plan(located(run.config, run.path), 1)
        for run in (make_run(objective=name, teacher=str(teacher.path)) for name in ("frozen", "phased"))
    )
    assert frozen.teachers == 4 * larger.count
    assert phased.teachers == 4 * (larger.count + phased.count)
    assert frozen.total(checkpointing=False) == own.total(checkpointing=False) + frozen.teachers

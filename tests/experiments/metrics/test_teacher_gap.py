"""Teacher–student gap: 0 of the teacher itself and of exact students, the known number of planted ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from experiments.errors import UserError
from experiments.metrics import Measuring, TeacherGap
from objectives import ConsistencyDistillation, FlowMatching, MeanFlow, Shortcut
from objectives.sampling import Sampler

EXACT = Measuring(seed=2, dtype=torch.float64)


def test_an_exact_student_is_where_its_teacher_is(exact: Any) -> None:
    flow = FlowMatching()
    teacher = Sampler(flow, exact(flow).network, "dopri5")  # one step, integrated to a tolerance of 1e-5
    found = TeacherGap(teacher_steps=1, run="there", num=40)(exact(MeanFlow(), teacher=teacher), EXACT)
    assert list(found) == ["teacher_gap_1", "teacher_gap_4"]
    assert max(found.values()) < 1e-4
    # A student that takes each noise to the mean is as far from its teacher as the samples are from the mean.
    found = TeacherGap(steps=(1,), teacher_steps=1, run="there", num=40)(exact(flow, teacher=teacher), EXACT)
    noise = next(iter(EXACT.starts(exact(flow), 40))).x
    wanted, _ = teacher.run(noise, teacher.times(1), None)
    mean = exact(flow).data.oracle
    off = wanted - (mean.weights[:, None] * mean.means).sum(0)
    assert found["teacher_gap_1"] == pytest.approx(float(off.square().mean().sqrt()) / 2.0, rel=1e-6)


def test_a_student_that_is_off_by_a_number_gives_it(exact: Any) -> None:
    """Off by c at every step's end: by c after one step and 4c after four, in units of the data's deviation, 2."""
    mean_flow = MeanFlow()
    good = exact(mean_flow).network

    def off(z: Any, t: Any, condition: Any = None, step: Any = None) -> Any:
        return good(z, t, condition, step) - 0.3 / step[:, None]

    model = exact(mean_flow, off, teacher=Sampler(mean_flow, good))
    found = TeacherGap(steps=(1,), teacher_steps=1, run="there", num=30)(model, EXACT)
    assert found == {"teacher_gap_1": pytest.approx(0.15, rel=1e-9)}
    assert TeacherGap(steps=(4,), teacher_steps=4, run="there", num=30)(
        exact(mean_flow, good, teacher=Sampler(mean_flow, good)), EXACT
    ) == {"teacher_gap_4": 0}


def test_both_start_from_equal_noise_and_conditions(exact: Any, plane: Any) -> None:
    asked: list[tuple[str, torch.Tensor, torch.Tensor]] = []

    def named(name: str) -> Any:
        def network(z: Any, t: Any, condition: Any = None, step: Any = None) -> Any:
            asked.append((name, z, condition["label"]))
            return torch.zeros_like(z)

        return network

    flow = FlowMatching()
    data = plane(classes=3)
    model = exact(flow, named("student"), data, teacher=Sampler(flow, named("teacher")))
    TeacherGap(steps=(1, 2), teacher_steps=3, run="x", num=20)(model, Measuring(batch_size=8, dtype=torch.float64))
    assert [name for name, _, _ in asked] == (["teacher"] * 3 + ["student"] * 3) * 3
    assert all(torch.equal(z, asked[0][1]) and torch.equal(label, asked[0][2]) for _, z, label in asked[:6])
    assert len(asked[0][2].unique()) == 3


def test_batches_do_not_show_the_teacher_is_the_one_named_and_a_stop_is_heard(exact: Any) -> None:
    flow = FlowMatching()
    model = exact(flow, teacher=Sampler(flow, exact(flow).network))
    metric = TeacherGap(teacher_steps=8, run="runs/x-0123456789ab", weights="raw", num=30)
    whole, done = metric(model, EXACT), list[int]()
    parts = metric(model, Measuring(seed=2, dtype=torch.float64, batch_size=12, check=done.append))
    assert parts == pytest.approx(whole, rel=1e-12)
    assert done == [12, 12, 6]
    assert model.asked["teacher"] == ("runs/x-0123456789ab", "raw")

    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        metric(model, Measuring(check=stop))


def test_a_gap_to_nobody_or_in_illegal_steps_is_refused(exact: Any) -> None:
    TeacherGap().check(ConsistencyDistillation())
    TeacherGap(run="x").check(Shortcut())
    with pytest.raises(ValueError, match=r"no frozen teacher; name one: teacher_gap\(run=FOLDER\)"):
        TeacherGap().check(Shortcut())
    with pytest.raises(ValueError, match="from 1 to 2"):
        TeacherGap(run="x").check(Shortcut(M=2))
    with pytest.raises(UserError, match="had no frozen teacher"):
        TeacherGap().check_model(exact(ConsistencyDistillation(), lambda *_: None))
    short = Shortcut(M=8)
    with pytest.raises(UserError, match=r"teacher_steps=128: .* from 1 to 8"):
        TeacherGap(run="x").check_model(exact(short, teacher=Sampler(short, exact(short).network)))
    for given in ({"steps": ()}, {"steps": (1, 1)}, {"teacher_steps": 0}, {"num": 0}):
        with pytest.raises(ValueError, match="different numbers of steps"):
            TeacherGap(**given)

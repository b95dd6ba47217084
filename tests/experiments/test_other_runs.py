"""The runs that a run builds on: found wherever the folder of runs is, and refused when they do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.cli import main
from experiments.config import ConfigError, read, resolve
from experiments.execute import execute
from experiments.other_runs import find, refuse
from experiments.runs import Run

MakeRun = Callable[..., Run]
pytestmark = pytest.mark.usefixtures("taught")


def finished(run: Run) -> Run:
    """A run that says it is done, without a training."""
    run.mark_done(step=run.config.trainer.max_steps, evaluations=[])
    return run


def test_a_run_beside_is_told_from_its_neighbours_folder(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = finished(make_run())
    monkeypatch.chdir(tmp_path)
    student = make_run(objective="frozen", teacher=f"runs/{teacher.path.name}")
    own = student.config
    assert own.teacher is not None
    assert own.teacher.run == f"../{teacher.path.name}"
    elsewhere = make_run("students", objective="frozen", teacher=f"runs/{teacher.path.name}")
    assert elsewhere.config.teacher is not None
    assert elsewhere.config.teacher.run == str(teacher.path)
    assert elsewhere.config.hash == own.hash
    (tmp_path / "runs").rename(tmp_path / "moved")
    monkeypatch.chdir("/")
    moved = Run.open(tmp_path / "moved" / student.path.name)
    refuse(moved.config, moved.path)
    assert find(own.teacher, moved.path).resolve() == tmp_path / "moved" / teacher.path.name  # pyright: ignore[reportOptionalMemberAccess]
    found = find(own.teacher)
    assert found is None, "from a folder that has no runs beside it"


def test_a_renamed_run_beside_is_found_by_its_hash(make_run: MakeRun) -> None:
    teacher = finished(make_run())
    student = make_run(objective="frozen", teacher=str(teacher.path))
    other_name = teacher.path.with_name(f"better-{teacher.config.hash}")
    teacher.path.rename(other_name)
    refuse(student.config, student.path)
    finished(make_run("again")).path.rename(teacher.path)  # the same configuration is the same run
    refuse(student.config, student.path)


def test_another_run_of_the_same_name_is_not_taken(make_run: MakeRun, tmp_path: Path) -> None:
    teacher = finished(make_run())
    teacher.path.rename(tmp_path / "teacher")
    student = make_run(objective="frozen", teacher=str(tmp_path / "teacher"))
    (tmp_path / "teacher").rename(tmp_path / "aside")
    finished(make_run("other", seed=1)).path.rename(tmp_path / "teacher")
    with pytest.raises(ConfigError, match=f"is no run of hash {teacher.config.hash}: it holds the run"):
        refuse(student.config, student.path)


REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], list[str]]] = [
    ("path", {"objective": "eps/linear"}, {}, ["cannot teach frozen", "its path is", "its head is"]),
    ("head", {"objective": {"name": "flow_matching", "head": "data"}}, {}, ["its head is Data", "not Velocity"]),
    ("data", {"data": "digits", "backbone": {"name": "dit", "width": 16, "depth": 1, "heads": 2}}, {},
     ["is a run on digits, which is no points", "its shape is (1, 8, 8), not (2,)"]),
    ("step", {"objective": "shortcut"}, {}, ["is told the step's length, and a teacher is told the time alone"]),
    ("no average", {"ema__decays": []}, {}, ["given 'ema'", "only 'raw'"]),
    ("an average", {}, {"weights": "ema-0.5"}, ["given 'ema-0.5'", "kept are raw, ema-0.999"]),
    ("best", {}, {"weights": "best"}, ["has no export/best.safetensors"]),
]  # fmt: skip


@pytest.mark.parametrize(("options", "named", "words"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_a_teacher_that_does_not_fit_is_refused(
    make_run: MakeRun, options: dict[str, Any], named: dict[str, Any], words: list[str]
) -> None:
    teacher = finished(make_run(**options))
    student = make_run(objective="frozen", teacher={"run": str(teacher.path), **named})
    with pytest.raises(ConfigError) as caught:
        refuse(student.config, student.path)
    for word in words:
        assert word in str(caught.value)


def test_a_consistency_model_tells_no_velocity(make_run: MakeRun) -> None:
    teacher = finished(make_run(objective="consistent"))
    student = make_run(objective="frozen", teacher=str(teacher.path))
    with pytest.raises(ConfigError, match="tells where the flow ends, and not its velocity"):
        refuse(student.config, student.path)


def test_a_larger_network_of_another_kind_may_teach(make_run: MakeRun) -> None:
    teacher = finished(make_run(data="digits", backbone={"name": "u-vit", "width": 32, "depth": 4, "heads": 2}))
    student = make_run(
        data="digits", backbone={"name": "dit", "width": 16, "depth": 1, "heads": 2}, objective="frozen",
        teacher=str(teacher.path),
    )  # fmt: skip
    refuse(student.config, student.path)


def test_a_teacher_that_is_not_done_is_refused(make_run: MakeRun) -> None:
    teacher = make_run()
    teacher.write_status("interrupted", step=7)
    student = make_run(objective="frozen", teacher=str(teacher.path))
    with pytest.raises(ConfigError, match=r"not trained to its end: interrupted, 7 steps done \(fewstep resume"):
        refuse(student.config, student.path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backbone__width": 24}, ["another network (MLP) than MLP as configured", "is (24,", "network's is (16,"]),
        ({"backbone__depth": 3}, ["is not part of the network"]),
        ({"backbone__depth": 1}, ["is missing"]),
        ({"objective": "shortcut"}, ["is not part of the network"]),
    ],
    ids=["width", "deeper", "shallower", "step"],
)
def test_a_start_of_another_architecture_is_refused_with_names_and_shapes(
    make_run: MakeRun, options: dict[str, Any], words: list[str]
) -> None:
    first = finished(make_run(**options))
    run = make_run(start=str(first.path))
    with pytest.raises(ConfigError) as caught:
        refuse(run.config, run.path)
    for word in words:
        assert word in str(caught.value)


def test_a_start_may_lack_what_is_there_for_the_step_alone(make_run: MakeRun) -> None:
    first = finished(make_run())
    run = make_run(objective="shortcut", start=str(first.path))
    refuse(run.config, run.path)


def test_the_command_refuses_before_anything_is_written(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = make_run(objective="eps/linear")
    file = tmp_path / "student.yaml"
    text = {
        "objective": "frozen",
        "data": "points",
        "backbone": {"name": "mlp", "width": 16},
        "trainer": {"max_steps": 3},
    }
    for named, words in (
        (f"gone-{'0' * 12}", ["there is no such folder"]),
        (str(teacher.path), ["cannot teach frozen", "not trained to its end"]),
    ):
        file.write_text(yaml.safe_dump({"teacher": named, **text}, sort_keys=False))
        with pytest.raises(SystemExit) as ended:
            main(["train", "--config", str(file), "--runs", str(tmp_path / "students")])
        assert ended.value.code == 2
        said = capsys.readouterr().err
        for word in (*words, "student.yaml:1"):
            assert word in said.replace("\n", " ")
        assert not (tmp_path / "students").exists()


def test_the_same_configuration_with_a_teacher_is_the_same_run(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = make_run()
    assert execute(teacher) == 0
    student = make_run(objective="frozen", teacher=str(teacher.path))
    assert execute(student) == 0
    monkeypatch.chdir(tmp_path)
    again = make_run(objective="frozen", teacher=f"runs/{teacher.path.name}")
    assert again.path == student.path
    assert again.finished
    by_file = resolve(read(student.config_file))
    assert by_file.hash == student.config.hash
    assert Run.create(by_file, tmp_path / "runs").path == student.path

"""Checkpoints that do not fit or are damaged, as a user of the command line meets them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from experiments.cli import main
from experiments.execute import execute
from experiments.runs import Run
from experiments.training import checkpoints

MakeRun = Callable[..., Run]
OTHERS: Mapping[str, Mapping[str, Any]] = {
    "another width": {"backbone__width": 24},
    "another depth": {"backbone__depth": 3},
    "another network": {"data": "digits"},
    "a step embedding": {"objective": "shortcut"},
    "a loss with weights of its own": {"objective": {"name": "rf", "weighting": "learned"}},
    "more averages": {"ema__decays": [0.9, 0.99]},
    "no average": {"ema__decays": []},
}


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """(exit code, what was said) of a command."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code, capsys.readouterr().err


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, small_run: MakeRun) -> Run:
    run = small_run(tmp_path_factory.mktemp("runs"), trainer__max_steps=8)
    assert execute(run) == 0
    return run


def content(run: Run) -> dict[Path, bytes]:
    """Every file of a run but those that say how it is."""
    files = (path for path in run.path.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if path.name not in ("status.json", "manifest.json")}


@pytest.mark.parametrize("command", [("resume",), ("sample", "--weights", "raw"), ("evaluate",)])
@pytest.mark.parametrize("other", OTHERS)
def test_a_checkpoint_of_another_network_is_refused_with_the_difference(
    trained: Run, make_run: MakeRun, capsys: pytest.CaptureFixture[str], other: str, command: tuple[str, ...]
) -> None:
    run = make_run(**OTHERS[other], trainer__max_steps=12, evaluation__steps=[1])
    shutil.copytree(trained.checkpoints, run.checkpoints)
    before = content(run)
    code, said = call(capsys, command[0], str(run.path), *command[1:])
    assert code == 2, said
    assert said.replace("\n", "").replace(" ", "").count("step-000000008") == 1, "one message"
    assert "Traceback" not in said
    assert content(run) == before


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_and_that_is_said(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path / trained.path.name)
    shutil.copytree(trained.path, run.path)
    (run.path / "done.json").unlink()
    with open(checkpoints.folder(run.checkpoints, 8) / "tensors-0.safetensors", "r+b") as file:
        file.truncate(100)
    code, said = call(capsys, "sample", str(run.path), "--steps", "1", "--num", "4")
    assert code == 0, said
    assert "is damaged" in said
    assert "step-000000004" in said.replace("\n", "").replace(" ", "")
    code, said = call(capsys, "resume", str(run.path))
    assert code == 0, said
    assert "is damaged" in said
    assert run.finished
    assert checkpoints.load(checkpoints.folder(run.checkpoints, 8))["step"] == 8, "trained again from the one before"


def test_where_all_are_damaged_the_run_begins_anew_and_there_is_nothing_to_sample(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path / trained.path.name)
    shutil.copytree(trained.path, run.path)
    (run.path / "done.json").unlink()
    for index in run.checkpoints.glob("*/index.json"):
        index.write_text("{")
    code, said = call(capsys, "sample", str(run.path), "--steps", "1")
    assert code == 2
    assert "no whole checkpoint" in said
    code, said = call(capsys, "resume", str(run.path))
    assert code == 0, said
    assert "No whole checkpoint is left" in said
    assert run.finished

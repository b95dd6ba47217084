"""The trackers that are named: CSV always, options by call, and what is wrong refused at its place."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from experiments.cli.app import app
from experiments.config import ConfigError, read, resolve
from experiments.trackers.chosen import chosen
from experiments.trackers.csv import CSV
from experiments.trackers.mlflow import MLflow
from experiments.trackers.tensorboard import TensorBoard


def test_csv_is_always_there() -> None:
    assert [type(tracker) for tracker in chosen(["tensorboard"])] == [CSV, TensorBoard]
    assert [type(tracker) for tracker in chosen(["TensorBoard", "CSV"])] == [TensorBoard, CSV]
    assert [type(tracker) for tracker in chosen([])] == [CSV]


def test_options_are_given_by_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: ModuleSpec(name, None))
    _, tracker = chosen(["mlflow(experiment=digits, uri=http://127.0.0.1:5000)"])
    assert isinstance(tracker, MLflow)
    assert (tracker.experiment, tracker.uri) == ("digits", "http://127.0.0.1:5000")


def test_an_option_that_is_none_is_refused_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.trackers.*'projct'; did you mean 'project'.*\[override"):
        resolve(read(None, ["trainer.trackers=[csv,'wandb(projct=x)']"]))


def test_a_missing_package_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = CliRunner().invoke(app, ["train", "trainer.trackers=mlflow", "--runs", str(tmp_path / "runs")])
    assert "pip install 'fewstep[mlflow]'" in str(found.exception)
    assert not (tmp_path / "runs").exists()

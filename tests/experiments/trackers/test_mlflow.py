"""MLflow: one run there for a run of ours, whatever ends its attempts, and each number once."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from experiments.errors import RunFailed, UserError
from experiments.files import read_json
from experiments.runs import Run
from experiments.trackers.chosen import chosen
from experiments.trackers.mlflow import MLflow, allowed

from .attempts import EXPECTED, LAST, Attempt, attempts, make
from .stand_ins import MLflow as StandIn

MakeRun = Callable[..., Run]
SPELT = sorted(((step, allowed(name)), value) for (step, name), value in EXPECTED.items())


def use(service: StandIn, patch: pytest.MonkeyPatch) -> None:
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, module in service.modules().items():
        patch.setitem(sys.modules, name, module)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    found = StandIn()
    use(found, monkeypatch)
    return found


def only_run(service: StandIn) -> dict[str, Any]:
    (store,) = service.stores.values()
    (found,) = store["runs"].values()
    return found


def numbers(histories: dict[str, list[Any]]) -> list[tuple[tuple[int, str], float]]:
    return sorted(((point.step, name), point.value) for name, points in histories.items() for point in points)


@settings(max_examples=40)
@given(attempts())
def test_each_number_arrives_once_however_the_attempts_end(
    small_run: Callable[..., Run], several: list[Attempt]
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        service, run = StandIn(), small_run(Path(folder))
        use(service, patch)
        for attempt in several:
            tracker = MLflow()
            make(run, tracker, attempt)
            if attempt.kept is None:
                tracker.close()
        assert numbers(only_run(service)["metrics"]) == SPELT


def test_a_run_is_going_on_stopped_or_finished(make_run: MakeRun, service: StandIn) -> None:
    run, tracker = make_run(), MLflow()
    tracker.open(run, first_step=0)
    assert only_run(service)["status"] == "RUNNING"
    tracker.close()
    assert only_run(service)["status"] == "KILLED"
    tracker.summary(run, {"loss": 0.5})
    assert only_run(service)["status"] == "FINISHED"


def test_options_pictures_and_final_values(make_run: MakeRun, service: StandIn) -> None:
    run = make_run(objective="shortcut", objective__k=0.5)
    for _ in range(2):
        tracker = MLflow(experiment="digits", uri="http://mlflow.test:5000")
        tracker.open(run, first_step=0)
        tracker.image(3, "samples", np.zeros((4, 5, 3), np.uint8))
        tracker.close()
    tracker.summary(run, {"loss": 0.5, "frechet_distance/power-0.12@80-4": 2.0})
    assert list(service.stores) == ["http://mlflow.test:5000"]
    found = only_run(service)
    assert found["name"] == run.path.name
    assert found["images"] == [("samples", 3)]
    assert found["params"]["objective.k"] == "0.5"
    assert found["metrics"]["final/frechet_distance/power-0.12_80-4"][0].value == 2.0
    assert found["metrics"]["final/loss"][0].step == run.config.trainer.max_steps


def test_where_it_writes(make_run: MakeRun, service: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    MLflow().open(run, first_step=0)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://from.environment")
    MLflow().open(make_run("other"), first_step=0)
    assert list(service.stores) == [f"sqlite:///{run.path / 'mlflow' / 'mlflow.db'}", "http://from.environment"]


def test_two_runs_share_an_experiment(make_run: MakeRun, service: StandIn) -> None:
    for seed in (0, 1):
        MLflow(uri="http://one").open(make_run(seed=seed), first_step=0)
    (store,) = service.stores.values()
    assert len(store["experiments"]) == 1
    assert len(store["runs"]) == 2


def test_without_the_package_the_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"mlflow needs mlflow.*pip install 'fewstep\[mlflow\]'"):
        chosen(["mlflow"])


def test_a_refusal_is_told_and_ends_the_run_in_good_order(make_run: MakeRun, service: StandIn) -> None:
    run, tracker = make_run(), MLflow()
    tracker.open(run, first_step=0)
    service.refusal = "connection refused"
    with pytest.raises(RunFailed, match="MLflow took no more: connection refused"):
        tracker.log(1, {"loss": 1.0})
    tracker.close()
    with pytest.raises(UserError, match=r"MLflow at sqlite:///.* refuses: connection refused"):
        MLflow().open(run, first_step=0)


def test_with_the_package_itself(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = make_run()
    for attempt in (Attempt(0, 5, 3), Attempt(4, LAST, None)):
        tracker = MLflow()
        make(run, tracker, attempt)
    tracker.image(3, "samples", np.zeros((4, 5, 3), np.uint8))
    tracker.close()
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{run.path / 'mlflow' / 'mlflow.db'}")
    state = read_json(run.path / "trackers" / "mlflow.json")
    assert state is not None
    names = client.get_run(state["id"]).data.metrics
    assert numbers({name: client.get_metric_history(state["id"], name) for name in names}) == SPELT
    assert list((run.path / "mlflow" / "artifacts").rglob("*.png"))
    tracker.summary(run, {"loss": 0.25})
    found = client.get_run(state["id"])
    assert (found.info.status, found.data.metrics["final/loss"]) == ("FINISHED", 0.25)
    assert found.data.params["objective"] == "rf"

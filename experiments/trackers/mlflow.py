"""MLflow."""

from __future__ import annotations

import importlib
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from experiments.errors import RunFailed, UserError
from experiments.runs import Run
from experiments.trackers.mirror import Mirror
from experiments.trackers.options import flat_options

BATCH = 100
"""Values that MLflow takes at once: 100 parameters, and more metrics."""


@dataclass
class MLflow:
    """One MLflow run for a run, whatever the interruptions, on a server or in the run's own ``mlflow/``.

    Args:
        experiment: MLflow's experiment; made where there is none.
        uri: the tracking server or database; null for MLFLOW_TRACKING_URI, or else a database in the run's folder
            (``mlflow ui --backend-store-uri sqlite:///RUN/mlflow/mlflow.db``).
    """

    experiment: str = "fewstep"
    uri: str | None = None

    version: ClassVar[int] = 1
    requires: ClassVar[tuple[str, ...]] = ("mlflow",)

    def open(self, run: Run, *, first_step: int) -> None:
        """Go on with the run there; send what metrics.csv has up to ``first_step`` and MLflow has not."""
        self._begin(run)
        for name in self._client.get_run(self._mirror.id).data.metrics:
            history = self._client.get_metric_history(self._mirror.id, name)
            self._mirror.steps[name] = max(point.step for point in history)
        for step, values in self._mirror.missing(first_step):
            self._send(step, values)

    def _begin(self, run: Run) -> None:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        mlflow = _package()
        self._mirror = Mirror(run, "mlflow", spell=allowed)
        uri, artifacts = self.uri or os.environ.get("MLFLOW_TRACKING_URI"), None
        if uri is None:
            own = run.path.absolute() / "mlflow"
            own.mkdir(exist_ok=True)
            uri, artifacts = f"sqlite:///{own / 'mlflow.db'}", str(own / "artifacts")
        try:
            self._client: Any = mlflow.MlflowClient(tracking_uri=uri)
            if self._mirror.id is None:
                self._mirror.id = self._create(run, artifacts)
                self._mirror.save()
            self._client.update_run(self._mirror.id, status="RUNNING")
        except mlflow.MlflowException as error:
            raise UserError(f"MLflow at {uri} refuses: {error}") from error

    def _create(self, run: Run, artifacts: str | None) -> str:
        entities = _package(".entities")
        made = self._client.create_run(self._experiment(artifacts), run_name=run.path.name).info.run_id
        for some in _parts(flat_options(run.config)):
            self._client.log_batch(made, params=[entities.Param(name, str(value)) for name, value in some])
        return made

    def _experiment(self, artifacts: str | None) -> str:
        mlflow = _package()
        found = self._client.get_experiment_by_name(self.experiment)
        try:
            return found.experiment_id if found else self._client.create_experiment(self.experiment, artifacts)
        except mlflow.MlflowException:  # another run may have made it in between
            found = self._client.get_experiment_by_name(self.experiment)
            if found is None:
                raise
            return found.experiment_id

    def _send(self, step: int, values: Mapping[str, float]) -> None:
        mlflow, entities = _package(), _package(".entities")
        now = int(time.time() * 1000)
        try:
            for some in _parts(values):
                metrics = [entities.Metric(name, float(value), now, step) for name, value in some]
                self._client.log_batch(self._mirror.id, metrics=metrics)
        except mlflow.MlflowException as error:
            raise RunFailed(f"MLflow took no more: {error}. The last checkpoint is intact.") from error

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if found := self._mirror.new(step, values):
            self._send(step, found)

    def image(self, step: int, name: str, pixels: Any) -> None:
        for key in self._mirror.new(step, {name: 0.0}):
            self._client.log_image(self._mirror.id, pixels, key=key, step=step)
            self._mirror.save()

    def flush(self) -> None:
        """MLflow keeps each value when :meth:`log` returns."""

    def close(self) -> None:
        """Says that the run has stopped; if nobody listens, that is not worth another end than the run had."""
        mlflow = _package()
        with suppress(mlflow.MlflowException):
            self._client.set_terminated(self._mirror.id, "KILLED")

    def summary(self, run: Run, values: Mapping[str, float]) -> None:
        self._begin(run)
        self._send(run.config.trainer.max_steps, {allowed(f"final/{name}"): value for name, value in values.items()})
        self._client.set_terminated(self._mirror.id, "FINISHED")


def allowed(name: str) -> str:
    """A value's name as MLflow takes it: letters, digits and "_-. :/"."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def _parts(values: Mapping[str, Any]) -> Iterator[list[tuple[str, Any]]]:
    items = list(values.items())
    for first in range(0, len(items), BATCH):
        yield items[first : first + BATCH]


def _package(part: str = "") -> Any:
    return importlib.import_module(f"mlflow{part}")

"""W&B and MLflow as far as the trackers use them, with their rules, in memory: the packages are no part of the suite.

What they do was compared with wandb 0.31.0 (offline) and mlflow 3.17.2 (SQLite). Where the packages are installed, the
same tests run with them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any


@dataclass
class Session:
    """One ``wandb.init`` to ``finish``: what it wrote stands in its folder, and with it goes away."""

    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)


class WandB:
    """What W&B keeps of all runs; ``online`` as if its server were there."""

    def __init__(self, *, online: bool = False):
        self.online, self.sessions, self.refusal = online, {}, ""
        self.dropped: list[dict[str, Any]] = []

    def module(self) -> ModuleType:
        made: Any = ModuleType("wandb")
        made.__spec__ = ModuleSpec("wandb", None)
        made.Error = type("Error", (Exception,), {})
        made.Settings = SimpleNamespace
        made.Image = lambda pixels: pixels.shape

        def init(**options: Any) -> WandBRun:
            if self.refusal:
                raise made.Error(self.refusal)
            assert options["resume"] == "allow"
            return WandBRun(self, options)

        made.init = init
        return made

    def rows(self, id: str) -> list[dict[str, Any]]:
        """What all sessions of a run together have, those whose folder is there still."""
        return [row for session in self.sessions[id] if self.online or session.folder.is_dir() for row in session.rows]


class WandBRun:
    """A run that is being written: rows of equal step are one, and steps never go back."""

    def __init__(self, service: WandB, options: dict[str, Any]):
        before = service.sessions.setdefault(options["id"], [])
        number = len(before)
        self.service, self.offline = service, not service.online
        self.sync_dir = Path(options["dir"]) / "wandb" / f"offline-run-{number:04}-{options['id']}"
        self.sync_dir.mkdir(parents=True)
        self.url = f"https://wandb.test/{options['id']}"
        self.session = Session(self.sync_dir, config=options["config"])
        rows = [row for session in before for row in session.rows] if service.online else []
        self.resumed = bool(rows)
        self.starting_step = rows[-1]["_step"] + 1 if rows else 0
        self.summary: dict[str, Any] = dict(rows[-1]) if rows else {}
        self._held: dict[str, Any] = {"_step": self.starting_step}
        before.append(self.session)

    def define_metric(self, name: str, *, step_metric: str) -> None:
        assert (name, step_metric) == ("*", "step")

    def log(self, values: dict[str, Any], *, step: int) -> None:
        if step < self._held["_step"]:
            self.service.dropped.append(values)
            return
        if step > self._held["_step"]:
            self._commit()
            self._held = {"_step": step}
        self._held |= values

    def _commit(self) -> None:
        if len(self._held) > 1:
            self.session.rows.append(self._held)
            self.summary |= self._held

    def finish(self) -> None:
        self._commit()
        self.session.summary = dict(self.summary)

    def kill(self, kept: int) -> None:
        """The process is killed: what W&B held back is lost, and of what it wrote the first rows are kept."""
        del self.session.rows[kept:]


class MLflow:
    """What a tracking server keeps; a database of one's own for each address."""

    def __init__(self) -> None:
        self.stores: dict[str, dict[str, Any]] = {}
        self.refusal = ""

    def modules(self) -> dict[str, ModuleType]:
        made: Any = ModuleType("mlflow")
        entities: Any = ModuleType("mlflow.entities")
        made.__spec__ = ModuleSpec("mlflow", None)
        made.MlflowException = MlflowException
        made.MlflowClient = lambda tracking_uri: MLflowClient(self, tracking_uri)
        entities.Param = lambda key, value: SimpleNamespace(key=key, value=value)
        entities.Metric = lambda key, value, timestamp, step: SimpleNamespace(
            key=key, value=value, timestamp=timestamp, step=step
        )
        return {"mlflow": made, "mlflow.entities": entities}


class MlflowException(Exception):
    pass


class MLflowClient:
    """A client of one store. Parameters never change, names are checked, a batch has a size."""

    def __init__(self, service: MLflow, uri: str):
        if service.refusal:
            raise MlflowException(service.refusal)
        self._store = service.stores.setdefault(uri, {"experiments": {}, "runs": {}})
        self._service = service

    def get_experiment_by_name(self, name: str) -> Any:
        found = self._store["experiments"].get(name)
        return found and SimpleNamespace(experiment_id=found)

    def create_experiment(self, name: str, artifact_location: str | None) -> str:
        if name in self._store["experiments"]:
            raise MlflowException("exists")
        self._store["experiments"][name] = str(len(self._store["experiments"]) + 1)
        return self._store["experiments"][name]

    def create_run(self, experiment_id: str, *, run_name: str) -> Any:
        id = f"run{len(self._store['runs'])}"
        self._store["runs"][id] = {"name": run_name, "status": "RUNNING", "metrics": {}, "params": {}, "images": []}
        return SimpleNamespace(info=SimpleNamespace(run_id=id))

    def _run(self, id: str) -> dict[str, Any]:
        if self._service.refusal or id not in self._store["runs"]:
            raise MlflowException(self._service.refusal or f"Run with id={id} not found")
        return self._store["runs"][id]

    def get_run(self, id: str) -> Any:
        run = self._run(id)
        last = {name: points[-1].value for name, points in run["metrics"].items()}
        info = SimpleNamespace(status=run["status"], run_name=run["name"])
        return SimpleNamespace(info=info, data=SimpleNamespace(metrics=last, params=run["params"]))

    def get_metric_history(self, id: str, name: str) -> list[Any]:
        return self._run(id)["metrics"].get(name, [])

    def log_batch(self, id: str, *, metrics: Any = (), params: Any = ()) -> None:
        run = self._run(id)
        if len(metrics) > 1000 or len(params) > 100:
            raise MlflowException("too many")
        for each in [*metrics, *params]:
            if not re.fullmatch(r"[/\w.\- :]*", each.key):
                raise MlflowException(f"Invalid value {each.key!r}")
        for param in params:
            if run["params"].setdefault(param.key, param.value) != param.value:
                raise MlflowException("Changing param values is not allowed")
        for metric in metrics:
            run["metrics"].setdefault(metric.key, []).append(metric)

    def log_image(self, id: str, image: Any, *, key: str, step: int) -> None:
        self._run(id)["images"].append((key, step))

    def update_run(self, id: str, *, status: str) -> None:
        self._run(id)["status"] = status

    def set_terminated(self, id: str, status: str) -> None:
        self._run(id)["status"] = status

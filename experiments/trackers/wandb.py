"""Weights & Biases."""

from __future__ import annotations

import importlib
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from experiments.errors import UserError
from experiments.runs import Run
from experiments.trackers.mirror import Mirror
from experiments.trackers.options import flat_options, nested_options


@dataclass
class WandB:
    """One W&B run for a run, whatever the interruptions; what it wrote offline stands in the run's ``wandb/``.

    W&B's own environment variables hold (WANDB_MODE=offline, WANDB_RUN_GROUP, …). Its step never goes back, so the
    number to plot against is the value ``step``.

    Args:
        project: W&B's project.
        entity: the user or team; null for the account's own.
    """

    project: str = "fewstep"
    entity: str | None = None

    version: ClassVar[int] = 1
    requires: ClassVar[tuple[str, ...]] = ("wandb",)

    def open(self, run: Run, *, first_step: int) -> None:
        """Go on with the run there; send what an earlier attempt logged up to ``first_step`` and W&B never got."""
        self._begin(run)
        if self._there.resumed and not self._mirror.clean:  # online, W&B says itself how far a killed one came
            reached = self._there.summary.get("step")
            self._mirror.floor = -1 if reached is None else int(reached)
        for step, values in self._mirror.missing(first_step):
            self._send(step, values)

    def _begin(self, run: Run) -> None:
        wandb = _package()
        self._mirror = Mirror(run, "wandb")
        self._mirror.id = self._mirror.id or uuid.uuid4().hex[:12]
        for session in (run.path / "wandb").glob(f"offline-run-*-{self._mirror.id}"):
            if session.name not in self._mirror.sessions:  # killed: W&B had not written all of it
                shutil.rmtree(session)
        try:
            self._there: Any = wandb.init(
                project=self.project,
                entity=self.entity,
                id=self._mirror.id,
                name=run.path.name,
                dir=str(run.path),
                resume="allow",
                config=nested_options(flat_options(run.config)),
                settings=wandb.Settings(silent=True, console="off"),
            )
        except wandb.Error as error:
            raise UserError(f"W&B refuses: {error} (WANDB_MODE=offline needs no account)") from error
        self._there.define_metric("*", step_metric="step")
        self._mirror.url = None if self._there.offline else self._there.url
        self._mirror.save(clean=False)
        self._at = self._there.starting_step

    def _send(self, step: int, values: Mapping[str, Any]) -> None:
        self._at = max(self._at, step)
        self._there.log({**values, "step": step}, step=self._at)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if found := self._mirror.new(step, values):
            self._send(step, found)

    def image(self, step: int, name: str, pixels: Any) -> None:
        wandb = _package()
        if self._mirror.new(step, {name: 0.0}):
            self._send(step, {name: wandb.Image(pixels)})

    def flush(self) -> None:
        """W&B writes when it likes; what a kill loses is sent again from metrics.csv."""

    def close(self) -> None:
        self._there.finish()
        if self._there.offline:
            self._mirror.sessions.append(Path(self._there.sync_dir).name)
        self._mirror.save()

    def summary(self, run: Run, values: Mapping[str, float]) -> None:
        self._begin(run)
        self._there.summary.update({f"final/{name}": value for name, value in values.items()})
        self.close()


def _package() -> Any:
    return importlib.import_module("wandb")

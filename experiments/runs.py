"""A run's folder: what was asked, how far it is, what it gave. Imports no torch.

::

    NAME-HASH/
      config.yaml      the configuration, resolved; its identity is HASH
      manifest.json    versions, git revision, command, device
      status.json      state, step, heartbeat; replaced atomically
      metrics.csv      step,name,value
      tensorboard/  checkpoints/  samples/
      ema/             snapshots of the power profiles
      export/          weights alone, as safetensors
      evaluations/     one JSON file for each set of evaluation settings
      done.json        trained to the last step, and evaluated as asked
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.errors import UserError
from experiments.files import read_json, write_atomically, write_json

if TYPE_CHECKING:
    from experiments.config import Config, Evaluation

STATES = ("pending", "running", "interrupted", "failed", "done")


class Run:
    """One run's folder. ``fence`` is called before every write and raises when the right to write is lost."""

    def __init__(self, path: Path, *, fence: Callable[[], None] | None = None):
        self.path = Path(path)
        self.fence = fence or (lambda: None)

    @classmethod
    def create(cls, config: Config, root: Path, *, fence: Callable[[], None] | None = None) -> Run:
        """The folder of this configuration under ``root``: the one that has its hash, or a new one.

        What is no part of the identity (devices, evaluation, logging) is taken from ``config`` anew.
        """
        found = sorted(Path(root).glob(f"*-{config.hash}")) if Path(root).is_dir() else []
        run = cls(found[0] if found else Path(root) / config.run_name, fence=fence)
        run.path.mkdir(parents=True, exist_ok=True)
        run.configure(config)
        return run

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """The run in an existing folder; a :class:`UserError` where there is none."""
        run = cls(Path(path))
        if not run.config_file.is_file():
            near = [entry.parent.name for entry in run.path.parent.glob("*/config.yaml")][:5]
            raise UserError(
                f"{path} is no run: it has no config.yaml." + (f" Runs beside it: {', '.join(near)}." if near else "")
            )
        return run

    def configure(self, config: Config) -> None:
        """Write config.yaml (readable back to the same identity) unless it says the same already.

        Runs that it builds on are told from this folder: a folder of runs may be moved as a whole. Data in files are
        told by absolute paths.
        """
        import yaml

        from experiments.config.places import absolute
        from experiments.other_runs import written_from

        told = replace(written_from(config, self.path), data=absolute(config.data))
        text = yaml.safe_dump(told.plain(), sort_keys=False, allow_unicode=True)
        if not self.config_file.is_file() or self.config_file.read_text() != text:
            self.fence()
            write_atomically(self.config_file, text)
        self.__dict__.pop("config", None)

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @cached_property
    def config(self) -> Config:
        from experiments.config import load

        return load(self.config_file)

    # -- how far it is ------------------------------------------------------------------------------------------

    @property
    def status(self) -> dict[str, Any]:
        """``state`` (one of STATES), ``step``, ``max_steps``, ``heartbeat`` (seconds since the epoch), ``message``."""
        return read_json(self.path / "status.json") or {"state": "pending", "step": 0}

    def write_status(self, state: str, **fields: Any) -> None:
        """Replace status.json; what is not given keeps its last value; message and reason are dropped."""
        assert state in STATES, state
        self.fence()
        status = {**self.status, "message": None, "reason": None, **fields, "state": state, "heartbeat": time.time()}
        told = {**status, "host": socket.gethostname(), "pid": os.getpid()}
        write_json(self.path / "status.json", told, sync=state != "running")

    @property
    def done(self) -> dict[str, Any] | None:
        return read_json(self.path / "done.json")

    @property
    def finished(self) -> bool:
        """Whether its configuration asks for nothing more: trained to the end, and evaluated with its settings."""
        done = self.done
        if done is None:
            return False
        import yaml

        written = yaml.safe_load(self.config_file.read_text())["evaluation"]
        return done.get("step") is not None and evaluation_key(written) in done["evaluations"]

    def mark_done(self, **facts: Any) -> None:
        self.fence()
        write_json(self.path / "done.json", {**(self.done or {}), **facts})

    # -- what it gave -------------------------------------------------------------------------------------------

    def metrics(self) -> Iterator[tuple[int, str, float]]:
        """The rows of metrics.csv: (step, name, value). A last line that is still being written is left out."""
        file = self.path / "metrics.csv"
        if file.is_file():
            with open(file, newline="") as lines:
                for line in lines:
                    row = line.rstrip("\n").split(",")
                    if line.endswith("\n") and row[0].isdigit():
                        yield int(row[0]), row[1], float(row[2])

    def evaluations(self) -> list[dict[str, Any]]:
        """Every evaluation of this run, the oldest first."""
        files = sorted((self.path / "evaluations").glob("*.json"), key=lambda file: file.stat().st_mtime)
        return [value for value in map(read_json, files) if value is not None]

    def write_evaluation(self, key: str, value: dict[str, Any]) -> None:
        self.fence()
        (self.path / "evaluations").mkdir(exist_ok=True)
        write_json(self.path / "evaluations" / f"{key}.json", value)


_ADDED: Mapping[str, Any] = {
    "guidance_interval": None, "guidance_rescale": 0.0, "guidance_channels": None, "grid": None, "dtype": "float32",
}  # fmt: skip
"""Settings that came later and the value that is what was done before: evaluations from before keep their names."""


def evaluation_settings(evaluation: Evaluation | Mapping[str, Any]) -> dict[str, Any]:
    """What decides an evaluation's numbers: the section, resolved, without its batch size."""
    settings = dict(evaluation) if isinstance(evaluation, Mapping) else asdict(evaluation)
    del settings["batch_size"]
    return {key: value for key, value in settings.items() if key not in _ADDED or value != _ADDED[key]}


def evaluation_key(evaluation: Evaluation | Mapping[str, Any]) -> str:
    """12 hex digits of the SHA-256 of the evaluation's settings."""
    text = json.dumps(evaluation_settings(evaluation), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def child(parent: Run, config: Config) -> Run:
    """A run that goes on from ``parent``'s newest whole checkpoint under another configuration.

    Its identity is its configuration and where it comes from (parent.json): not that of a run that did all its steps
    under ``config``. Asked for again, it is the same folder. Raises :class:`UserError` where the parent has nothing.
    """
    from experiments.config.identity import child_digest
    from experiments.config.plugins import build_cached
    from experiments.training import checkpoints, snapshots

    phased = build_cached(config.objective).phases > 1
    if phased and config.trainer.max_steps != parent.config.trainer.max_steps:
        raise UserError(
            f"trainer.max_steps={config.trainer.max_steps}: {config.objective.label} trains in phases, which are equal "
            f"parts of {parent.config.trainer.max_steps}; a longer training is a run of its own (start={parent.path})."
        )
    found = checkpoints.newest(parent.checkpoints)
    if found.path is None:
        raise UserError(f"{parent.path} has no whole checkpoint to go on from.")
    if found.state["step"] >= config.trainer.max_steps:
        raise UserError(
            f"trainer.max_steps={config.trainer.max_steps}: {parent.path} is at step {found.state['step']} already; "
            "a run that goes on from there needs more."
        )
    origin = {"run": parent.path.name, "step": found.state["step"]}
    name = config.run_name.removesuffix(config.hash) + child_digest(config.identity(), origin)
    run = Run(parent.path.parent / name)
    if not run.config_file.is_file():
        shutil.copytree(found.path, run.checkpoints / found.path.name, dirs_exist_ok=True)
        snapshots.inherit(parent.path, run.path, found.state["step"])
        write_json(run.path / "parent.json", origin)
    run.configure(config)
    return run

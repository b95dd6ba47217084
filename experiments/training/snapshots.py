"""Snapshots of the power profiles during training, from which any other profile is made afterwards.

``ema/power-0.05-000000400.safetensors`` is the profile of σ_rel 0.05 as it stood after step 400. Stored in float16, as
EDM2 does; a tensor whose values float16 cannot hold stays float32.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lightning import LightningModule, Trainer
from torch import Tensor

from experiments import weights
from experiments.config.averages import power_name
from experiments.config.schema import EMA as Settings
from experiments.runs import Run
from experiments.training.background import Files
from experiments.training.callbacks import AfterStep, due
from experiments.training.ema import PowerEMA
from experiments.training.module import TrainingModule
from experiments.training.sharding import copied

FOLDER = "ema"
COUNT = 32
"""How many there are over a training whose configuration does not say."""
LARGEST = 6e4
_FILE = re.compile(r"power-(0\.\d+)-(\d{9})\.safetensors")


@dataclass(frozen=True)
class Snapshot:
    """One profile at one step, in a file."""

    path: Path
    sigma_rel: float
    step: int

    def load(self) -> dict[str, Tensor]:
        """Its weights as they are stored; raises :class:`experiments.weights.DamagedWeights`."""
        return weights.read(self.path)


def interval(settings: Settings, max_steps: int) -> int:
    """Steps between two snapshots."""
    return settings.snapshot_every or -(-max_steps // COUNT)


def snapshots(run: Path) -> list[Snapshot]:
    """The snapshots in a run's folder, by σ_rel and step."""
    matches = [(file, _FILE.fullmatch(file.name)) for file in (run / FOLDER).glob("*.safetensors")]
    found = [Snapshot(file, float(match[1]), int(match[2])) for file, match in matches if match]
    return sorted(found, key=lambda snapshot: (snapshot.sigma_rel, snapshot.step))


def file_of(run: Path, sigma_rel: float, step: int) -> Path:
    """Where the snapshot of a profile at a step lies in a run's folder."""
    return run / FOLDER / f"{power_name(sigma_rel)}-{step:09d}.safetensors"


def stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """float16 copies; float32 where the largest element is beyond float16's range."""
    largest = {name: tensor.abs().max().item() if tensor.numel() else 0.0 for name, tensor in tensors.items()}
    return {name: tensor.half() if largest[name] < LARGEST else tensor for name, tensor in tensors.items()}


def inherit(parent: Path, child: Path, step: int) -> None:
    """Give a run that goes on from ``parent``'s ``step`` the snapshots up to there."""
    for snapshot in snapshots(parent):
        if snapshot.step <= step:
            (child / FOLDER).mkdir(parents=True, exist_ok=True)
            shutil.copy2(snapshot.path, child / FOLDER / snapshot.path.name)


class TakeSnapshots(AfterStep):
    """Files the power profiles every :func:`interval` steps and at the end, each under its last update's step.

    What a run that goes on finds of later steps is removed: it will be made again. All ranks gather, one writes, beside
    the training.
    """

    def __init__(self, run: Run, files: Files):
        self.run, self.files = run, files

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        for snapshot in snapshots(self.run.path) if trainer.is_global_zero else []:
            if snapshot.step > pl_module.first_step:
                self.run.fence()
                snapshot.path.unlink(missing_ok=True)

    def after_step(self, trainer: Trainer, module: TrainingModule, step: int) -> None:
        if not due(step, interval(module.config.ema, module.config.trainer.max_steps), module):
            return
        taken: list[tuple[float, int, dict[str, Tensor]]] = []
        for ema in module.emas:
            updated = step - step % ema.every if isinstance(ema, PowerEMA) else 0
            if isinstance(ema, PowerEMA) and updated:
                taken.append((ema.sigma_rel, updated, copied(ema.network, keep=trainer.is_global_zero)))
        if trainer.is_global_zero and taken:
            self.files.submit(partial(self._write, taken, module.config.hash))

    def _write(self, taken: list[tuple[float, int, dict[str, Tensor]]], run: str) -> None:
        for sigma_rel, step, tensors in taken:
            self.run.fence()
            told = {"weights": power_name(sigma_rel), "step": str(step), "run": run}
            weights.write(file_of(self.run.path, sigma_rel, step), stored(tensors), told)

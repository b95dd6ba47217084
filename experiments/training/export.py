"""Weights alone, beside the checkpoints: ``export/raw.safetensors``, ``export/ema.safetensors`` and so on.

Everything float32, named as the network's parameters are; the header tells weights, step and run.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from torch import Tensor
from torch.nn import Module

from experiments import weights
from experiments.config import averages
from experiments.runs import Run
from experiments.training import checkpoints
from experiments.training.background import Files
from experiments.training.module import TrainingModule
from experiments.training.sharding import copied

FOLDER = "export"


def file_of(run: Run, name: str) -> Path:
    """Where the weights of this name are exported to."""
    return run.path / FOLDER / f"{name}.safetensors"


def export(run: Run, name: str, tensors: Mapping[str, Tensor], step: int, **facts: str) -> Path:
    """Write weights (on the CPU) under their name; the file."""
    run.fence()
    told = {"weights": name, "step": str(step), "run": run.config.hash, **facts}
    weights.write(file_of(run, name), {key: tensor.float() for key, tensor in tensors.items()}, told)
    return file_of(run, name)


def export_all(run: Run) -> list[Path]:
    """The trained weights and every average of the newest whole checkpoint; the first average is "ema"."""
    found = checkpoints.newest(run.checkpoints)
    assert found.path is not None, run.path
    names = ["ema", *averages.names(run.config.ema)[1:]]
    kept = {"raw": found.state["backbone"], **dict(zip(names, found.state["emas"], strict=False))}
    return [export(run, name, tensors, found.state["step"]) for name, tensors in kept.items()]


class Best:
    """Keeps the weights of the lowest validation loss as ``export/best.safetensors`` (SD3's protocol, §5.1).

    They are the first average's, or the trained ones where there is none; written beside the training. A run that goes
    on keeps what it had.
    """

    def __init__(self, run: Run, files: Files):
        self.run, self.files = run, files
        self._lowest: float | None = None

    def offer(self, module: TrainingModule, losses: Mapping[str, float]) -> None:
        """Look at a validation's losses, which are the same on all ranks. All ranks gather, one writes."""
        source = "ema" if len(module.emas) else "raw"
        loss = losses[f"validation/loss_{source}"]
        if self._lowest is None:
            told = weights.facts(file_of(self.run, "best"))
            self._lowest = float(told.get("validation_loss", "inf"))
        if loss < self._lowest:
            self._lowest = loss
            network = module.emas[0].network if source == "ema" else module.backbone
            assert isinstance(network, Module)
            first = module.trainer.is_global_zero
            whole = copied(network, keep=first)
            if first:
                facts = {"source": source, "validation_loss": repr(loss)}
                self.files.submit(partial(export, self.run, "best", whole, module.step, **facts))

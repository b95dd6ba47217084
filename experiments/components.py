"""From a configuration to objects: the one place where objective, backbone and data meet."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from datamodules.base import DataModule
from experiments.config import Config
from objectives import Objective


@dataclass(frozen=True)
class Components:
    """What a configuration names, built: the data not yet loaded, the backbone initialised from the run's seed."""

    data: DataModule
    objective: Objective
    backbone: nn.Module


def build(config: Config) -> Components:
    """Build what ``config`` names. Equal seeds give shared parameters equal starts, whatever else differs."""
    if config.trainer.threads:
        torch.set_num_threads(config.trainer.threads)
    data = config.data.build()
    objective = config.objective.build()
    backbone = config.backbone.build(spec=data.spec, step=objective.needs.step)
    backbone.initialise(config.seed)
    return Components(data, objective, backbone)

"""From a configuration to objects: the one place where objective, backbone and data meet."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from backbones.base import Backbone
from datamodules.base import DataModule
from experiments.config import Config
from objectives import Objective


@dataclass(frozen=True)
class Components:
    """What a configuration names, built: the data not yet loaded, the backbone initialised from the run's seed."""

    data: DataModule
    objective: Objective
    backbone: nn.Module


def build(config: Config, *, lay_out: bool = False) -> Components:
    """Build what ``config`` names. Equal seeds give shared parameters equal starts, whatever else differs.

    With ``lay_out`` the backbone is left on the meta device if its parameters can be given their values one by one.
    """
    if config.trainer.threads:
        torch.set_num_threads(config.trainer.threads)
    data = config.data.build()
    objective = config.objective.build()
    if lay_out:
        with torch.device("meta"):
            backbone = config.backbone.build(spec=data.spec, step=objective.needs.step)
        if filled_one_by_one(backbone):
            return Components(data, objective, backbone)
    backbone = config.backbone.build(spec=data.spec, step=objective.needs.step)
    backbone.initialise(config.seed)
    return Components(data, objective, backbone)


def filled_one_by_one(backbone: nn.Module) -> bool:
    """Whether :meth:`Backbone.initial_value` tells all that there is to set in a backbone."""
    own = isinstance(backbone, Backbone) and type(backbone).initialise is Backbone.initialise
    return own and not any(True for _ in backbone.buffers())

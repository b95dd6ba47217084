"""What a training takes from other runs: the network that teaches it, and the weights that it begins with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from experiments.components import filled_one_by_one
from experiments.config import RunWeights
from experiments.config.plugins import build_cached
from experiments.errors import UserError
from experiments.other_runs import find
from experiments.runs import Run
from experiments.training.frozen import Frozen
from experiments.training.kept import weights_of
from experiments.training.precision import WEIGHTS


def trained_teacher(run: Run, *, lay_out: bool = False) -> Frozen | None:
    """The network of the run that ``run``'s configuration names as its teacher, on the CPU; None where it names none.

    With ``lay_out`` it is left on the meta device, beside its weights, if its parameters can be filled one by one.

    Raises:
        UserError: the run or its weights are not there.
    """
    config, other = run.config, run.config.teacher
    if other is None:
        return None
    teacher = Run(_folder(other, run.path))
    dtype = torch.promote_types(WEIGHTS.get(config.trainer.precision, torch.float32), torch.float32)
    spec, step = build_cached(config.data).spec, build_cached(teacher.config.objective).needs.step
    if lay_out:
        with torch.device("meta"):
            network = teacher.config.backbone.build(spec=spec, step=step)
        if filled_one_by_one(network):
            pieces = weights_of(teacher, other.weights, whole=False)
            return Frozen(network.to(dtype), step=step, weights=pieces)
    with torch.random.fork_rng():  # whatever it is, what follows draws the same numbers
        network = teacher.config.backbone.build(spec=spec, step=step)
    network.to(dtype).load_state_dict(weights_of(teacher, other.weights))
    return Frozen(network, step=step)


def starting_weights(run: Run, *, whole: bool = True) -> dict[str, Any] | None:
    """The weights that ``run`` begins with, on the CPU, as far as another run gives them; None where it names none.

    ``whole`` as of :func:`experiments.training.checkpoints.load`.
    """
    other = run.config.start
    return None if other is None else weights_of(Run(_folder(other, run.path)), other.weights, whole=whole)


def _folder(other: RunWeights, home: Path) -> Path:
    folder = find(other, home)
    if folder is None:
        raise UserError(f"{other.run} is not there any more, nor another folder of the run {other.hash}")
    return folder

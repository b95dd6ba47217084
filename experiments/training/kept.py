"""A run's weights by name: in its newest whole checkpoint, or beside the checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from experiments.config import Config, averages
from experiments.errors import UserError
from experiments.runs import Run
from experiments.training import checkpoints
from experiments.training.export import file_of
from experiments.training.posthoc import reconstruct
from experiments.weights import DamagedWeights, read


def in_checkpoint(config: Config, state: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
    """The weights that a checkpoint's state holds: "raw", each average by its name, and "ema", the first of them."""
    names = averages.names(config.ema)
    found = {"raw": state["backbone"], **dict(zip(names, state["emas"], strict=True))}
    return {**found, "ema": state["emas"][0]} if names else found


def beside(run: Run, name: str, kept: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights that no checkpoint holds: "best", or a power profile made from the run's snapshots.

    Raises:
        UserError: there are none of this name; ``kept`` are those that there are.
    """
    wanted = averages.power(name)
    if wanted is not None:
        return reconstruct(run, wanted.sigma_rel, wanted.step).weights
    if name != "best":
        raise UserError(f"weights={name}: {run.path} keeps {', '.join(sorted(kept))} weights.")
    try:
        return read(file_of(run, "best"))
    except DamagedWeights as damage:
        raise UserError(f"weights=best: {damage}") from damage


def weights_of(run: Run, name: str, *, whole: bool = True) -> dict[str, Any]:
    """A run's weights of this name on the CPU, in the precision in which they were trained.

    ``whole`` as of :func:`checkpoints.load`: without it, tensors that lie in pieces stay so.

    Raises:
        UserError: there is no whole checkpoint, or there are no weights of this name.
    """
    found = checkpoints.newest(run.checkpoints, whole=whole)
    if found.path is None:
        raise UserError(" ".join([f"{run.path} has no whole checkpoint.", *found.notices]))
    kept = in_checkpoint(run.config, found.state)
    return kept[name] if name in kept else beside(run, name, kept)

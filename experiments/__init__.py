"""Everything that runs: configuration, training, sampling, evaluation, grids, reports and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.evaluation.loaded import LoadedRun

__all__ = ["load"]


def load(path: Path | str, *, device: str | None = None) -> LoadedRun:
    """A trained run in memory, from its folder: ``load(path).sample(steps=4)``, ``load(path).evaluate(steps=[1, 4])``.

    Raises a UserError where the folder is no run or holds no whole checkpoint.
    """
    from experiments.evaluation.loaded import LoadedRun
    from experiments.runs import Run

    return LoadedRun(Run.open(path), device=device)

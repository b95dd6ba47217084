"""The pairs that a run trains on: made before it begins, found when it trains."""

from __future__ import annotations

from pathlib import Path

import torch

from datamodules.base import DataModule
from datamodules.pair_set import PairSet
from datamodules.pairs import Pairs
from experiments.config import Config
from experiments.console import Reporter
from experiments.errors import UserError
from experiments.evaluation.loaded import LoadedRun
from experiments.other_runs import find
from experiments.pairs.folder import place
from experiments.pairs.make import make_pairs
from experiments.pairs.recipe import Recipe
from experiments.runs import Run
from experiments.stopping import Stop


def prepare(run: Run, *, stop: Stop, reporter: Reporter) -> None:
    """Make the pairs that ``run`` trains on, in the folder of the run that they come from; nothing where they stand.

    To be done by one process of the run, before its ranks start; a run of several processes makes them on as many. Of
    several runs that want one set one makes it. Raises as :func:`experiments.pairs.make.make_pairs`.
    """
    config, wanted = run.config, run.config.pairs
    if wanted is None:
        return
    maker = _maker(config, run.path)

    def load() -> tuple[LoadedRun, Recipe]:
        device = "cpu" if config.trainer.accelerator == "cpu" else None
        loaded = LoadedRun(maker, reporter=reporter, device=device)
        return loaded, Recipe.of(loaded, wanted)

    make_pairs(place(maker, wanted), load, verify=False, processes=config.trainer.devices, stop=stop, reporter=reporter)
    torch.cuda.empty_cache()  # the run that made them is of no more use, and ranks want the memory


def training_data(config: Config, data: DataModule, home: Path | None = None) -> DataModule:
    """What a run trains on: ``data``, the data of its configuration, or pairs of them where it names a run that makes
    these.

    Args:
        home: as of :func:`experiments.other_runs.find`.

    Raises:
        UserError: the pairs are not there.
    """
    if config.pairs is None:
        return data
    maker = _maker(config, home)
    path = place(maker, config.pairs)
    try:
        found = PairSet.find(path)
        if found is None:
            raise ValueError(f"there is no finished pair set in {path}")
        return Pairs(of=data, made=found)
    except ValueError as error:
        raise UserError(f"{error}: `fewstep train` and `fewstep resume` make it before they train") from error


def _maker(config: Config, home: Path | None) -> Run:
    assert config.pairs is not None
    folder = find(config.pairs, home)
    if folder is None:
        raise UserError(f"{config.pairs.run} is not there any more, nor another folder of the run {config.pairs.hash}")
    return Run(folder)

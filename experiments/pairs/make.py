"""A pair set from a trained run, from wherever it is to its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from datamodules.base import DataError
from datamodules.pair_set import PairSet
from experiments import weights
from experiments.claims import Claim, ClaimLost
from experiments.console import Reporter
from experiments.errors import Interrupted, UserError, failure_of
from experiments.evaluation.loaded import LoadedRun
from experiments.pairs.folder import Folder
from experiments.pairs.holding import held
from experiments.pairs.making import Maker
from experiments.pairs.processes import Progress, make_on_processes
from experiments.pairs.recipe import Recipe
from experiments.stopping import Stop

Load = Callable[[], tuple[LoadedRun, Recipe]]


def make_pairs(
    path: Path, load: Load, *, verify: bool = True, processes: int = 1, stop: Stop, reporter: Reporter
) -> PairSet:
    """Make what is missing of a pair set in the folder ``path``, on so many processes; the set.

    Shards that stand valid are not made again; the set is the same, bit for bit, whatever number of processes and of
    interruptions there were. On GPUs the processes take them in turn. While another process makes it, we wait: of any
    number on any number of machines one is at work, and another goes on where it dies.

    Args:
        path: see :func:`experiments.pairs.folder.place`.
        load: the run and the recipe, asked for when there is something to make.
        verify: read the whole of a set that is there. Without, its shards need only be there, of the right size and
            with the right checksums in their headers: nothing is loaded and read then.

    Raises:
        UserError: the folder holds pairs that are made otherwise; the run cannot make these.
        Interrupted: ``stop`` asked for it; the shards that are done stay.
        RunFailed: samples that are not finite, a process that died, a disk that takes no more.
    """
    while verify or not standing(path):
        try:
            with held(path, stop, reporter) as own:
                if verify or not standing(path):
                    _finish(path, load, processes, own, stop, reporter)
            break
        except ClaimLost:  # we were taken for dead, and another is at it
            continue
        except OSError as error:
            if isinstance(error, PermissionError):
                told = "pairs lie in the folder of the run that makes them, or where a link `pairs` in it leads"
                raise UserError(f"{error}: {told}") from error
            if (failure := failure_of(error)) is not None:
                raise failure from error
            raise
    found = PairSet.find(path)
    assert found is not None
    return found


def standing(path: Path) -> bool:
    """Whether a finished set is there, as far as its index and its shards' headers say."""
    try:
        found = PairSet.find(path)
        if found is not None:
            found.check()
    except (ValueError, DataError):
        return False
    return found is not None


def _finish(path: Path, load: Load, processes: int, own: Claim, stop: Stop, reporter: Reporter) -> None:
    """Make what is missing, under our claim on the set."""

    def check() -> None:
        stop.check()
        own.check()

    threads = torch.get_num_threads()
    loaded, recipe = load()
    folder = Folder.begin(path, recipe)
    weights.sweep(path)
    missing = folder.missing()
    progress = Progress(reporter, folder.recipe, missing)
    if len(missing) < folder.recipe.shards:
        reporter.notice(f"{folder.recipe.shards - len(missing)} of {folder.recipe.shards} shards in {path} stand.")
    try:
        if missing:
            reporter.begin(f"pairs in {path}", done=progress.done, total=recipe.num)
            _make(loaded, folder, missing, min(processes, len(missing)), check, progress)
        check()
        folder.finish()
    except ClaimLost:
        raise
    except Interrupted as end:
        there = f"{progress.shards} of {folder.recipe.shards} shards in {path}"
        raise Interrupted(f"Stopped with {there}; the same command goes on from there.") from end
    finally:
        torch.set_num_threads(threads)  # the run may have asked for others, and a shard is made by one
        reporter.end()


def _make(
    loaded: LoadedRun,
    folder: Folder,
    missing: list[int],
    processes: int,
    check: Callable[[], None],
    progress: Progress,
) -> None:
    if processes > 1:
        make_on_processes(loaded, folder, missing, processes, check, progress)
        return
    maker = Maker(loaded, folder)
    for number in missing:
        check()
        maker.make(number, check)
        progress.add(number)

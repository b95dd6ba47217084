"""A pair set from a trained run, from wherever it is to its end."""

from __future__ import annotations

from pathlib import Path

import torch

from datamodules.pair_set import PairSet
from experiments.console import Reporter
from experiments.errors import Interrupted, failure_of
from experiments.evaluation.loaded import LoadedRun
from experiments.pairs.folder import Folder
from experiments.pairs.making import Maker
from experiments.pairs.processes import Progress, make_on_processes
from experiments.pairs.recipe import Recipe
from experiments.stopping import Stop


def make_pairs(
    loaded: LoadedRun, path: Path, recipe: Recipe, *, processes: int = 1, stop: Stop, reporter: Reporter
) -> PairSet:
    """Make what is missing of a recipe's pairs in the folder ``path``, on so many processes; the set.

    Shards that stand valid are not made again; the set is the same, bit for bit, whatever number of processes and of
    interruptions there were. On GPUs the processes take them in turn.

    Raises:
        UserError: the folder holds something else, or another command works in it.
        Interrupted: ``stop`` asked for it; the shards that are done stay.
        RunFailed: samples that are not finite, a process that died, a disk that takes no more.
    """
    folder = Folder.begin(path, recipe)
    with folder.held():
        missing = folder.missing()
        progress = Progress(reporter, recipe, missing)
        if len(missing) < recipe.shards:
            reporter.notice(f"{recipe.shards - len(missing)} of {recipe.shards} shards in {path} stand.")
        try:
            if missing:
                reporter.begin(f"pairs in {path}", done=progress.done, total=recipe.num)
                _make(loaded, folder, missing, min(processes, len(missing)), stop, progress)
            folder.finish()
        except Interrupted as end:
            there = f"{progress.shards} of {recipe.shards} shards in {path}"
            raise Interrupted(f"Stopped with {there}; the same command goes on from there.") from end
        except OSError as error:
            failure = failure_of(error)
            if failure is None:
                raise
            raise failure from error
        finally:
            reporter.end()
    found = PairSet.find(path)
    assert found is not None
    return found


def _make(
    loaded: LoadedRun, folder: Folder, missing: list[int], processes: int, stop: Stop, progress: Progress
) -> None:
    if processes > 1:
        return make_on_processes(loaded, folder, missing, processes, stop, progress)
    threads = torch.get_num_threads()
    try:
        maker = Maker(loaded, folder)
        for number in missing:
            stop.check()
            maker.make(number, stop.check)
            progress.add(number)
    finally:
        torch.set_num_threads(threads)

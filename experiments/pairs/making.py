"""One shard of pairs: noise and conditions by their numbers, and where the run's flow carries them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from datamodules.pair_set import CONDITION, shard_file
from experiments import weights
from experiments.batches import drawn_condition
from experiments.errors import RunFailed
from experiments.evaluation.loaded import LoadedRun
from experiments.pairs.folder import Folder
from objectives import Draws


class Maker:
    """Makes shards of a recipe from its run. Equal on any number of processes: a shard is one batch, on one thread."""

    def __init__(self, loaded: LoadedRun, folder: Folder) -> None:
        torch.set_num_threads(1)
        self.loaded, self.folder, self.recipe = loaded, folder, folder.recipe
        self.sampler = self.recipe.sampler(loaded)

    def make(self, number: int, check: Callable[[], None] = lambda: None) -> None:
        """Make a shard and write it, atomically; ``check`` is called after every solver step, and may raise."""
        tensors = self.pairs(number, check)
        weights.write(shard_file(self.folder.path, number), tensors, self.folder.facts(number))

    @torch.no_grad()
    def pairs(self, number: int, check: Callable[[], None] = lambda: None) -> dict[str, Tensor]:
        """A shard's tensors: x, noise and condition.NAME, float32 and whatever conditions are.

        Pair i has the noise and the condition that (seed, i) name; noise is standard normal, whatever prior the path
        makes of it. Raises :class:`RunFailed` where a sample is not finite.
        """
        loaded, rows = self.loaded, self.recipe.rows(number)
        index = torch.arange(rows.start, rows.stop, device=loaded.device)
        draws = Draws(self.recipe.seed, 0, index)
        noise = draws.normal("pair noise", (len(rows), *loaded.data.spec.shape))
        condition = drawn_condition(loaded.data, draws, "pair condition", loaded.device)
        times = self.sampler.times(self.recipe.steps)
        x, _ = self.sampler.run(loaded.objective.prior(noise), times, condition, on_step=lambda done, time, z: check())
        if not bool(x.isfinite().all()):
            which = f"of pairs {rows.start} … {rows.stop - 1} some are not finite"
            raise RunFailed(f"{loaded.run.path}: {which}; nothing was written of them", "not finite")
        found = {"x": x.float(), "noise": noise}
        found |= {f"{CONDITION}{name}": value for name, value in (condition or {}).items()}
        return {name: value.contiguous().cpu() for name, value in found.items()}

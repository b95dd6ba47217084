"""The folder of a pair set while it is made: begun, gone on with, finished. It lies in the folder of the run that makes
the pairs, under a name by all that they depend on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from datamodules.pair_set import FORMAT, INDEX, RECIPE, shard_file
from experiments import weights
from experiments.config import RunPairs
from experiments.config.identity import digest
from experiments.errors import UserError
from experiments.files import read_json, write_json
from experiments.pairs.fitting import chosen_solver
from experiments.pairs.recipe import Recipe
from experiments.runs import Run


def place(run: Run, wanted: RunPairs, *, step: int | None = None) -> Path:
    """Where the pairs lie that are wanted of ``run``, trained to ``step`` (its last, without a word)."""
    solver = chosen_solver(wanted, run.config)
    made = {**wanted.identity(), "solver": solver, "step": step or run.config.trainer.max_steps}
    return run.path / "pairs" / digest(made)


class Folder:
    """A recipe and where its pairs lie."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path, self.recipe = path, recipe

    @classmethod
    def begin(cls, path: Path, recipe: Recipe) -> Folder:
        """The folder of a recipe, made if need be; a set that was begun keeps the size of its shards.

        Raises:
            UserError: the pairs that are there are made otherwise, of data that were others then.
        """
        there = read_json(path / RECIPE)
        if there is None:
            path.mkdir(parents=True, exist_ok=True)
            write_json(path / RECIPE, recipe.plain())
            return cls(path, recipe)
        recipe = replace(recipe, shard=there.get("shard", recipe.shard))
        if there != recipe.plain():
            told = _differences(there, recipe.plain())
            raise UserError(f"{path} holds pairs that are made otherwise: {told}. Remove that folder to make these.")
        return cls(path, recipe)

    @classmethod
    def open(cls, path: Path) -> Folder:
        """A folder that has been begun."""
        return cls(path, Recipe(**json.loads((path / RECIPE).read_text())))

    def facts(self, number: int) -> dict[str, str]:
        """What a shard's header says beside its checksum: of which recipe it is which shard."""
        return {"recipe": digest(self.recipe.plain()), "shard": str(number)}

    def missing(self) -> list[int]:
        """The shards that are not there, or not as they were written; reads those that are."""
        return [number for number in range(self.recipe.shards) if not self._stands(number)]

    def _stands(self, number: int) -> bool:
        file = shard_file(self.path, number)
        told = weights.facts(file)
        if any(told.get(key) != value for key, value in self.facts(number).items()):
            return False
        try:
            weights.read(file)
        except weights.DamagedWeights:
            return False
        return True

    def finish(self) -> None:
        """Write the index, unless it says the same already."""
        shards = [weights.facts(shard_file(self.path, number))["sha256"] for number in range(self.recipe.shards)]
        index: dict[str, Any] = {"format": FORMAT, "recipe": self.recipe.plain(), "shards": shards}
        if read_json(self.path / INDEX) != index:
            write_json(self.path / INDEX, index)


def _differences(there: dict[str, Any], asked: dict[str, Any]) -> str:
    told = [f"{key} {there.get(key)!r} there, {asked[key]!r} here" for key in asked if there.get(key) != asked[key]]
    return "; ".join(told) or "by another version"

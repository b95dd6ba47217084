"""The folder of a pair set while it is made: begun, gone on with, finished."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datamodules.pair_set import FORMAT, INDEX, RECIPE, shard_file
from experiments import weights
from experiments.claims import Heartbeat, claim
from experiments.config.identity import digest
from experiments.errors import Ended, UserError
from experiments.files import read_json, write_json
from experiments.pairs.recipe import Recipe

CLAIMS = Path("claims", "set")


class Folder:
    """A recipe and where its pairs lie."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path, self.recipe = path, recipe

    @classmethod
    def begin(cls, path: Path, recipe: Recipe) -> Folder:
        """The folder of a recipe, made if need be; one that holds something else is left as it is.

        Raises:
            UserError: there are pairs of another recipe, or no pairs at all but other files.
        """
        there = read_json(path / RECIPE)
        if there is None and path.is_dir() and any(not file.name.startswith(".") for file in path.iterdir()):
            raise UserError(f"{path} is no pair set, and not empty: give another folder with --out.")
        if there is None and path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file: give a folder with --out.")
        if there is not None and there != recipe.plain():
            raise UserError(
                f"{path} holds pairs that are made otherwise: {_differences(there, recipe.plain())}. Give another "
                "folder with --out."
            )
        if there is None:
            path.mkdir(parents=True, exist_ok=True)
            write_json(path / RECIPE, recipe.plain())
        return cls(path, recipe)

    @classmethod
    def open(cls, path: Path) -> Folder:
        """A folder that has been begun."""
        return cls(path, Recipe(**json.loads((path / RECIPE).read_text())))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other commands off the folder inside the block; who dies holds it no more.

        Raises:
            UserError: another command is at work here.
        """
        own = claim(self.path / CLAIMS)
        if own is None:
            raise UserError(f"another command is making the pairs in {self.path}; wait for it, or stop it.")
        weights.sweep(self.path)
        outcome = "failed"
        try:
            with Heartbeat(own):
                yield
            outcome = "done"
        except Ended as end:
            outcome = "interrupted" if end.exit_code == 75 else outcome
            raise
        finally:
            if own.ours:
                own.end(outcome)

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

"""What a pair set is made of: all that its pairs depend on, and nothing of where or by how many they are made."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from experiments.config import ConfigError, RunPairs
from experiments.evaluation.loaded import LoadedRun
from experiments.pairs.fitting import chosen_solver, unfit
from objectives.sampling import Sampler


@dataclass(frozen=True)
class Recipe:
    """A pair set before it is made.

    Attributes:
        run: hash of the run whose model makes the samples.
        weights: which of its weights.
        step: how far these had been trained.
        objective: what the run learned, in the field's notation.
        data: the real data that it learned from, as a configuration writes them.
        spec: their shape and conditions.
        fingerprint: of their content.
        num: number of pairs.
        shard: pairs that are made together and lie in one file.
        steps: solver steps.
        solver: a solver's name, with options if need be.
        guidance: w of classifier-free guidance; 1 is none.
        seed: of noise and conditions.
    """

    run: str
    weights: str
    step: int
    objective: str
    data: dict[str, Any]
    spec: dict[str, Any]
    fingerprint: str
    num: int
    shard: int
    steps: int
    solver: str
    guidance: float
    seed: int

    @classmethod
    def of(cls, loaded: LoadedRun, wanted: RunPairs) -> Recipe:
        """The recipe of the pairs that are wanted from a loaded run.

        Raises:
            ConfigError: its objective does not take the number of steps, the solver or the guidance, or the solver
                adds noise of its own.
            UserError: weights that the run has not.
        """
        if faults := list(unfit(wanted, loaded.config)):
            raise ConfigError(faults)
        recipe = cls(
            run=wanted.hash,
            weights=wanted.weights,
            step=loaded.step,
            objective=loaded.config.objective.label,
            data=loaded.config.data.plain(),
            spec=json.loads(json.dumps(asdict(loaded.data.spec))),
            fingerprint=loaded.data.fingerprint,
            num=wanted.num,
            shard=wanted.shard,
            steps=wanted.steps,
            solver=chosen_solver(wanted, loaded.config),
            guidance=wanted.guidance,
            seed=wanted.seed,
        )
        recipe.sampler(loaded)
        return recipe

    def sampler(self, loaded: LoadedRun) -> Sampler:
        """How a loaded run's samples are drawn."""
        return loaded.sampler(weights=self.weights, guidance=self.guidance, solver=self.solver)

    def plain(self) -> dict[str, Any]:
        """As it stands in recipe.json and in the index."""
        return asdict(self)

    @property
    def shards(self) -> int:
        """Number of shards; the last may have fewer pairs."""
        return -(-self.num // self.shard)

    def rows(self, number: int) -> range:
        """The pairs of one shard."""
        return range(number * self.shard, min((number + 1) * self.shard, self.num))

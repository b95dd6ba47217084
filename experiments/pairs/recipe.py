"""What a pair set is made of: all that its pairs depend on, and nothing of where or by how many they are made."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from experiments.config import averages
from experiments.config.plugins import described
from experiments.config.run_weights import hash_of
from experiments.errors import UserError
from experiments.evaluation.loaded import LoadedRun
from experiments.evaluation.sampling import plugin
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
    def of(
        cls,
        loaded: LoadedRun,
        *,
        num: int,
        shard: int,
        steps: int,
        weights: str = "ema",
        solver: str | None = None,
        guidance: float = 1.0,
        seed: int = 0,
    ) -> Recipe:
        """The recipe of pairs from a loaded run, checked against what the run can do.

        Raises:
            UserError: weights that the run has not; a number of steps, a solver or a guidance that its objective does
                not take; a solver that adds noise of its own.
        """
        real = loaded.data.real
        recipe = cls(
            run=hash_of(loaded.run.path) or loaded.config.hash,
            weights=averages.canonical(weights),
            step=loaded.step,
            objective=loaded.config.objective.label,
            data=described(real).plain(),
            spec=json.loads(json.dumps(asdict(real.spec))),
            fingerprint=real.fingerprint,
            num=num,
            shard=shard,
            steps=steps,
            solver=solver or loaded.objective.solvers[0],
            guidance=guidance,
            seed=seed,
        )
        recipe.sampler(loaded)
        return recipe

    def sampler(self, loaded: LoadedRun) -> Sampler:
        """How a loaded run's samples are drawn. Raises as :meth:`of`."""
        chosen = plugin("solvers", "solver", self.solver)
        sampler = loaded.sampler(weights=self.weights, guidance=self.guidance, solver=chosen)
        if not sampler.chosen.deterministic:
            raise UserError(
                f"solver={sampler.chosen.name}: it adds noise of its own, so that a sample is no function of the noise "
                "that it is paired with; pairs take a deterministic one"
            )
        try:
            sampler.times(self.steps)
        except ValueError as error:
            raise UserError(str(error)) from error
        return sampler

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

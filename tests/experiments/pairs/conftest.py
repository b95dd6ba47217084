"""A run whose flow is known: an exact network in a trained one's place."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from datamodules import DataModule
from datamodules.points import Points
from experiments.config.plugins import described
from experiments.pairs.folder import Folder
from experiments.pairs.making import Maker
from experiments.pairs.recipe import Recipe
from objectives import FlowMatching, Objective
from objectives.conformance.common import mixture
from objectives.sampling import Sampler

RECIPE: dict[str, Any] = {
    "run": "0123456789ab", "weights": "ema", "step": 7, "objective": "rf", "num": 20, "shard": 8, "steps": 3,
    "solver": "euler", "guidance": 1.0, "seed": 0,
}  # fmt: skip


@dataclass
class Exact:
    """What a maker needs of a loaded run, with the mixture's exact velocity as its network."""

    recipe: Recipe
    data: DataModule
    objective: Objective = field(default_factory=FlowMatching)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    run: Any = field(default_factory=lambda: SimpleNamespace(path=Path("exact")))

    def sampler(self, *, solver: Any = None, **_: Any) -> Sampler:
        return Sampler(self.objective, mixture().network(self.objective), solver)


@pytest.fixture(scope="session")
def exact() -> Callable[..., Any]:
    """Makes one with a recipe of few pairs, steps and shards; keywords change the recipe."""

    def make(*, data: DataModule | None = None, **recipe: Any) -> Any:
        real = data or Points(size=16)
        spec = json.loads(json.dumps(asdict(real.spec)))
        facts = {"data": described(real).plain(), "spec": spec, "fingerprint": real.fingerprint}
        return Exact(Recipe(**{**RECIPE, **facts, **recipe}), real)

    return make


@pytest.fixture
def write(tmp_path: Path, exact: Any) -> Callable[..., Path]:
    """Writes a small pair set of points."""

    def make(name: str, **recipe: Any) -> Path:
        loaded = exact(**recipe)
        folder = Folder.begin(tmp_path / name, loaded.recipe)
        for number in folder.missing():
            Maker(loaded, folder).make(number)
        folder.finish()
        return folder.path

    return make

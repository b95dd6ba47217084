"""Exact models, as metrics of a model ask one: data in the plane, an objective and any network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from datamodules.base import DataModule, Rows
from datamodules.spec import DataSpec
from objectives import Draws, FlowMatching, Objective
from objectives.base import Network
from objectives.oracle import GaussianMixture
from objectives.sampling import Sampler

MIXTURE = GaussianMixture(
    torch.tensor([[1.0, 0.5], [-1.0, 0.2], [0.1, -1.2]]), torch.tensor([0.4, 0.3, 0.6]), torch.tensor([0.5, 0.3, 0.2])
)


class Plane(DataModule):
    """Held-out rows of a mixture; with classes, every row's is its place modulo their number."""

    features: ClassVar[str] = "coordinates"

    def __init__(self, oracle: GaussianMixture = MIXTURE, rows: int = 96, classes: int = 0) -> None:
        self.oracle, self.rows, self.classes = oracle, rows, classes

    @property
    def spec(self) -> DataSpec:
        return DataSpec(shape=(self.oracle.means.shape[1],), num_classes=self.classes, data_std=2.0)

    def load(self) -> tuple[Rows, Rows]:
        draws = Draws(3, 0, torch.arange(self.rows))
        shape = (self.rows, *self.spec.shape)
        x = self.oracle.sample(draws.uniform("part", (self.rows,)), draws.normal("data", shape))
        rows = Rows(x, torch.arange(self.rows) % self.classes if self.classes else None)
        return rows, rows

    def to_images(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Exact:
    """A model whose network is a formula; `asked` is what was asked of it."""

    def __init__(
        self, objective: Objective, network: Network | None = None, data: DataModule | None = None, **parts: Any
    ) -> None:
        self.objective, self.data = objective, Plane() if data is None else data
        self.network = MIXTURE.network(objective) if network is None else network
        self.device, self.parts = torch.device("cpu"), parts
        self.asked: dict[str, Any] = {}

    def sampler(self, *, weights: str = "ema", solver: Any = None) -> Sampler:
        self.asked["weights"] = weights
        return Sampler(self.objective, self.network, solver)

    def teacher(self, run: str | None = None, weights: str = "ema") -> Sampler | None:
        self.asked["teacher"] = (run, weights)
        return self.parts.get("teacher")

    def log_likelihood(self, x: Tensor, condition: Any = None, **options: Any) -> Tensor:
        raise NotImplementedError


@pytest.fixture
def exact() -> Callable[..., Exact]:
    """Makes a model: exact(objective, network, data, teacher=…); the network is the oracle's where none is given."""
    return Exact


@pytest.fixture
def plane() -> Callable[..., Plane]:
    """Makes data in the plane: plane(rows=…, classes=…)."""
    return Plane


@pytest.fixture
def gaussian() -> Callable[[float], Exact]:
    """Flow matching of one Gaussian about 0 of the given deviation, exactly."""

    def make(deviation: float, objective: Objective | None = None) -> Exact:
        flow = FlowMatching() if objective is None else objective
        oracle = GaussianMixture(torch.zeros(1, 2), torch.tensor([deviation]))
        return Exact(flow, oracle.network(flow), Plane(oracle))

    return make

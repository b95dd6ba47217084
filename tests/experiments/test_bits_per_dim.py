"""Bits per dimension against the closed form of a Gaussian, in the plane and on a grid of cells."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from datamodules.base import DataModule, Rows
from datamodules.digits import Digits
from datamodules.mnist import MNIST
from datamodules.spec import DataSpec
from experiments.config import ConfigError, parse, resolve
from experiments.metrics import BitsPerDim, Measuring
from objectives import Draws, FlowMatching, Shortcut
from objectives.likelihood import log_likelihood
from objectives.oracle import GaussianMixture

RF = FlowMatching()


class Gaussian(DataModule):
    """Held-out rows of N(mean, std²) in each of D elements, rounded to cells where they are given."""

    features: ClassVar[str] = "pixels"

    def __init__(self, size: int, *, std: float = 0.5, rows: int = 400, cell: float | None = None) -> None:
        noise = Draws(3, 0, torch.arange(rows)).normal("data", (rows, size), torch.float64)
        x = 0.3 + std * noise
        self.oracle = GaussianMixture(torch.full((1, size), 0.3), torch.tensor([std]))
        self.x = x if cell is None else (x / cell).round() * cell
        self.width = size
        self.__dict__["cell"] = cell

    @property
    def spec(self) -> DataSpec:
        return DataSpec(shape=(self.width,))

    def load(self) -> tuple[Rows, Rows]:
        return Rows(self.x), Rows(self.x)

    def to_images(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def model(self, **seen: Any) -> Any:
        """The exact model of the continuous law."""

        def likelihood(x: Tensor, condition: Any = None, *, probes: int, weights: str, seed: int, check: Any) -> Tensor:
            seen.update(probes=probes, weights=weights, seed=seed, x=x)
            check(len(x))
            return log_likelihood(
                RF, self.oracle.network(RF), x.double(), condition, divergence="hutchinson" if probes else "exact",
                probes=max(probes, 1), draws=Draws(seed, 0, torch.arange(len(x))),
            )  # fmt: skip

        self.seen = seen
        return SimpleNamespace(data=self, log_likelihood=likelihood)


def test_of_a_gaussian_it_is_the_closed_form_with_the_spread_of_the_rows() -> None:
    data = Gaussian(2)
    found = BitsPerDim(num=300)(data.model(), Measuring("ema", 5))
    exact = -data.oracle.log_prob(data.x[:300].float().double()) / 2 / math.log(2)
    assert found["bits_per_dim"] == pytest.approx(float(exact.mean()), abs=1e-3)
    assert found["bits_per_dim_error"] == pytest.approx(float(exact.std()) / math.sqrt(300), rel=1e-2)
    assert list(found) == list(BitsPerDim().columns)
    # Of the law itself: the entropy, within four of the errors that it states.
    entropy = 0.5 * math.log2(2 * math.pi * math.e * 0.5**2)
    assert abs(found["bits_per_dim"] - entropy) < 4 * found["bits_per_dim_error"]


def test_the_divergence_is_exact_for_few_elements_and_estimated_for_many() -> None:
    for size, probes in ((2, 0), (16, 0), (17, 1)):
        data = Gaussian(size, rows=40)
        found = BitsPerDim(num=40)(data.model(), Measuring("raw", 9))
        assert (data.seen["probes"], data.seen["weights"], data.seen["seed"]) == (probes, "raw", 9)
        exact = -data.oracle.log_prob(data.x.float().double()) / size / math.log(2)
        # An isotropic Gaussian's divergence is a number times the identity, so that the estimate is exact too.
        assert found["bits_per_dim"] == pytest.approx(float(exact.mean()), abs=1e-3)
    data = Gaussian(2, rows=40)
    BitsPerDim(num=40, probes=3)(data.model(), Measuring("raw"))
    assert data.seen["probes"] == 3


def test_rounded_values_are_dequantised_and_cost_their_entropy() -> None:
    """With cells far smaller than the law is wide: entropy of the density less log2 of a cell, for each element."""
    cell = 1 / 32
    data = Gaussian(8, cell=cell)
    found = BitsPerDim(num=400)(data.model(), Measuring(seed=1))
    moved = data.seen["x"] - data.x
    assert float(moved.abs().max()) <= cell / 2 + 1e-6
    assert float(moved.std()) == pytest.approx(cell / math.sqrt(12), rel=0.05)
    entropy = 0.5 * math.log2(2 * math.pi * math.e * 0.5**2) - math.log2(cell)
    assert abs(found["bits_per_dim"] - entropy) < 4 * found["bits_per_dim_error"] < 0.2
    assert BitsPerDim(num=400)(data.model(), Measuring(seed=1)) == found
    assert BitsPerDim(num=400)(data.model(), Measuring(seed=2)) != found


def test_the_cells_of_the_image_sets_are_as_wide_as_their_steps() -> None:
    for data in (Digits(), MNIST()):
        levels = data.dataset("validation").x.unique()
        assert data.cell == pytest.approx(float(levels.diff().min()))
        assert len(levels) == round(2 / data.cell) + 1


def test_what_is_not_finite_is_no_number_and_a_stop_goes_through() -> None:
    data = Gaussian(2)
    broken = SimpleNamespace(data=data, log_likelihood=raising(FloatingPointError("dopri5 cannot go on")))
    assert all(math.isnan(value) for value in BitsPerDim()(broken, Measuring()).values())
    with pytest.raises(KeyboardInterrupt):
        BitsPerDim()(data.model(), Measuring(check=raising(KeyboardInterrupt())))


def raising(error: BaseException) -> Any:
    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


def test_what_has_no_exact_flow_is_refused_before_training() -> None:
    with pytest.raises(ValueError, match="cannot be sampled with dopri5"):
        BitsPerDim().check(Shortcut())
    BitsPerDim().check(RF)
    asked = {"evaluation": {"metrics": ["frechet_distance", "bits_per_dim"]}}
    resolve(parse({"objective": "rf", **asked}))
    with pytest.raises(ConfigError, match=r"evaluation\.metrics.*bits_per_dim: .*dopri5"):
        resolve(parse({"objective": "shortcut", **asked}))
    with pytest.raises(ConfigError, match=r"evaluation\.metrics.*at least|evaluation\.metrics.*≥ 2"):
        resolve(parse({"objective": "rf", "evaluation": {"metrics": ["bits_per_dim(num=1)"]}}))


@pytest.mark.parametrize("given", [{"num": 1}, {"probes": -1}])
def test_arguments_out_of_range_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 2 rows"):
        BitsPerDim(**given)

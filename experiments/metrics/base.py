"""What a metric is given, what it gives, and the blockwise pair sums that several of them need.

Shapes: N real, M held-out and K generated samples with D features each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from datamodules.base import DataModule
from objectives import Objective
from objectives.condition import Condition

BLOCK = 2048


@dataclass(frozen=True)
class SampleFeatures:
    """Features of the training split (N, D), of the held-out split (M, D) and of generated samples (K, D).

    Raises:
        ValueError: if one of them is not a matrix of at least two rows, or the widths differ.
    """

    train: Tensor
    heldout: Tensor
    fake: Tensor

    def __post_init__(self) -> None:
        matrices(train=self.train, heldout=self.heldout, fake=self.fake)


class Metric(ABC):
    """A plugin that turns features into named numbers; the options are its dataclass fields.

    A number that does not exist, because some feature is not finite, is NaN.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]]
    """Names of the numbers, in the order of a report's columns."""

    @abstractmethod
    def __call__(self, features: SampleFeatures) -> dict[str, float]:
        """One number for each name in `columns`."""


class Model(Protocol):
    """A trained run in memory, as far as a metric of the model asks it: ``experiments.load`` gives one."""

    data: DataModule

    def log_likelihood(self, x: Tensor, condition: Condition = None, **options: Any) -> Tensor:
        """(N,) ln p(x) in nats; the options are those of a loaded run."""
        ...


class ModelMetric(ABC):
    """A plugin that turns a model with certain weights into named numbers, however it is sampled.

    The options are its dataclass fields. A number that does not exist is NaN.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]]
    """Names of the numbers, in the order of a report's columns."""

    def check(self, objective: Objective) -> None:
        """Raise ValueError, before anything is trained, where a model of this objective has no such numbers."""
        return

    @abstractmethod
    def __call__(
        self, model: Model, weights: str, *, seed: int = 0, check: Callable[[int], None] = lambda done: None
    ) -> dict[str, float]:
        """One number for each name in `columns`.

        Args:
            model: the trained run.
            weights: which of its weights.
            seed: of any random numbers.
            check: called with the number of rows done after each batch; where it raises, so does this.
        """


def matrices(**features: Tensor) -> tuple[Tensor, ...]:
    """The same features in float64 on the CPU.

    Raises:
        ValueError: if one of them is not a matrix of at least two rows, or the widths differ.
    """
    shapes = {name: tuple(value.shape) for name, value in features.items()}
    widths = {shape[-1] for shape in shapes.values() if shape}
    if len(widths) != 1 or any(len(shape) != 2 or shape[0] < 2 for shape in shapes.values()):
        given = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"features have the shapes {given}; each must be (rows, D) with at least 2 rows and one D")
    return tuple(value.detach().to("cpu", torch.float64) for value in features.values())


def finite(*features: Tensor) -> bool:
    """Whether every number in every tensor is finite."""
    return all(bool(value.isfinite().all()) for value in features)


def distance(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances (N, M) from x (N, D) to y (M, D).

    Differences are formed before they are squared, so that a copy is at distance 0 exactly.
    """
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def distances(x: Tensor, y: Tensor) -> Iterator[Tensor]:
    """`distance` from blocks of x to all of y: yields (block, M), so that memory stays bounded."""
    return (distance(block, y) for block in x.split(BLOCK))


def unbiased_mean_difference(kernel: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    """E k(X, X′) + E k(Y, Y′) − 2·E k(X, Y), each by its U-statistic over all pairs of different rows.

    For a positive definite kernel this is the unbiased estimate of MMD² (Gretton et al. 2012, eq. 3); for the
    negative of a distance it is that of the energy distance. Its mean is 0 where the distributions are equal, so it
    can be negative.
    """

    def within(rows: Tensor) -> float:
        total = 0.0
        for start, block in zip(range(0, len(rows), BLOCK), rows.split(BLOCK), strict=True):
            values = kernel(block, rows)
            total += float(values.sum() - values.diagonal(start).sum())
        return total / (len(rows) * (len(rows) - 1))

    between = sum(float(kernel(block, y).sum()) for block in x.split(BLOCK)) / (len(x) * len(y))
    return within(x) + within(y) - 2 * between

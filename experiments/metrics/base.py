"""What a metric is given, what it gives, and the blockwise sums over pairs that several of them need.

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
from experiments import batches
from experiments.batches import Batch
from objectives import Objective
from objectives.base import Network
from objectives.condition import Condition
from objectives.sampling import Counter, Sampler
from objectives.solvers import Solver

BLOCK = 2048


@dataclass(frozen=True)
class SampleFeatures:
    """Features of the training split (N, D), of the held-out split (M, D) and of generated samples (K, D).

    Where there are classes, `heldout_label` (M,) and `fake_label` (K,) int64 say which: those of the samples are the
    ones that they were drawn under.

    Raises:
        ValueError: if one of them is not a matrix of at least two rows, the widths differ, or there is not one label
            for each row.
    """

    train: Tensor
    heldout: Tensor
    fake: Tensor
    heldout_label: Tensor | None = None
    fake_label: Tensor | None = None

    def __post_init__(self) -> None:
        matrices(train=self.train, heldout=self.heldout, fake=self.fake)
        for rows, label in ((self.heldout, self.heldout_label), (self.fake, self.fake_label)):
            if label is not None and label.shape != rows.shape[:1]:
                raise ValueError(f"{len(rows)} rows of features have labels of the shape {tuple(label.shape)}")


class Metric(ABC):
    """A plugin that turns features into named numbers; the options are its dataclass fields.

    A number that does not exist, because some feature is not finite, is NaN.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]]
    """Names of the numbers, in the order of a report's columns."""

    @abstractmethod
    def __call__(self, features: SampleFeatures) -> dict[str, float]:
        """One number for each name in `columns`, but for what such data have not, such as classes."""


class Model(Protocol):
    """A trained run in memory, as far as a metric of the model asks it: ``experiments.load`` gives one."""

    objective: Objective
    data: DataModule
    device: torch.device

    def sampler(self, *, weights: str = "ema", solver: str | Solver | None = None) -> Sampler:
        """Objective and network with these weights, and how to go from noise to samples, without guidance."""
        ...

    def teacher(self, run: str | None = None, weights: str = "ema") -> Sampler | None:
        """The same of another run, or else of the model's own frozen teacher; None where it has none."""
        ...

    def log_likelihood(self, x: Tensor, condition: Condition = None, **options: Any) -> Tensor:
        """(N,) ln p(x) in nats; the options are those of a loaded run."""
        ...


@dataclass(frozen=True)
class Measuring:
    """Which weights of a model are measured, and how.

    Args:
        weights: "ema", "raw", or others by name.
        seed: of all random numbers.
        dtype: of the arithmetic around the network.
        batch_size: rows at once; no number depends on it.
        check: called with the number of rows done after each batch; where it raises, so does the metric.
    """

    weights: str = "ema"
    seed: int = 0
    dtype: torch.dtype = torch.float32
    batch_size: int = 512
    check: Callable[[int], None] = lambda done: None

    def network(self, model: Model) -> Network:
        """The model's network, spoken to in the dtype of its weights."""
        sampler = model.sampler(weights=self.weights)
        return Counter(sampler.network_dtype).watch(sampler.network)

    def starts(self, model: Model, num: int) -> Iterator[Batch]:
        """What `num` samples start from: the same as those of an evaluation with this seed."""
        return self._checked(batches.starts(model.data, num, device=model.device, **self._common))

    def heldout(self, model: Model, num: int, *, multiple: int = 1, step: int = 0) -> Iterator[Batch]:
        """The first `num` held-out rows; `multiple` and `step` as of `experiments.batches.heldout`."""
        rows = batches.heldout(model.data, num, device=model.device, multiple=multiple, step=step, **self._common)
        return self._checked(rows)

    @property
    def _common(self) -> dict[str, Any]:
        return {"seed": self.seed, "dtype": self.dtype, "batch_size": self.batch_size}

    def _checked(self, rows: Iterator[Batch]) -> Iterator[Batch]:
        for batch in rows:
            yield batch
            self.check(len(batch.x))


class ModelMetric(ABC):
    """A plugin that turns a model with certain weights into named numbers, whatever the evaluation's number of steps.

    The options are its dataclass fields. A number that cannot be computed is NaN.
    """

    version: ClassVar[int] = 1

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Names of the numbers, in the order of a report's columns; the options may decide which there are."""

    def check(self, objective: Objective) -> None:
        """Raise ValueError, before anything is trained, where a model of this objective has no such numbers."""
        return

    def check_model(self, model: Model) -> None:
        """Raise UserError, before anything is measured, where this model in particular has none."""
        return

    @abstractmethod
    def __call__(self, model: Model, how: Measuring) -> dict[str, float]:
        """One number for each name in `columns`, but for what such a model has not, such as steps of a length."""


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

    between = sum(float(kernel(block, y).sum()) for block in x.split(BLOCK)) / (len(x) * len(y))
    return mean_over_pairs(kernel, x) + mean_over_pairs(kernel, y) - 2 * between


def mean_over_pairs(kernel: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> float:
    """E k(X, X′) by its U-statistic: the mean of a symmetric kernel over all pairs of different rows of x (N, D)."""
    total = 0.0
    for start, block in zip(range(0, len(x), BLOCK), x.split(BLOCK), strict=True):
        values = kernel(block, x)
        total += float(values.sum() - values.diagonal(start).sum())
    return total / (len(x) * (len(x) - 1))

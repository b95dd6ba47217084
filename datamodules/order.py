"""In which order the training rows are seen: a function of the seed and the step, and of nothing else.

Training reads an endless stream of positions 0, 1, 2, … Position p belongs to epoch p // size, and each epoch is a
permutation of the rows that depends on (seed, epoch) alone. Step s of a global batch of G covers the positions
[s·G, (s+1)·G), through the end of an epoch without a break. Ranks and micro-batches only divide these among
themselves, so that the global batch of a step is the same on any number of processes, with any accumulation, and
after any interruption.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler


@lru_cache(maxsize=4)
def permutation(size: int, seed: int, epoch: int) -> Tensor:
    """The rows of one epoch, shape (size,), int64.

    The stable argsort of raw Philox words: NumPy promises their bits for ever, unlike those of its shuffles. The
    result is shared between callers and must not be written to.
    """
    key = np.array([seed % 2**64, epoch], dtype=np.uint64)
    words = np.random.Philox(key=key).random_raw(size)
    return torch.from_numpy(np.argsort(words, kind="stable").astype(np.int64))


def positions(step: int, batch: int, rank: int = 0, world: int = 1, accumulate: int = 1, micro: int = 0) -> Tensor:
    """Stream positions of one micro-batch, shape (batch / (world·accumulate),), int64, consecutive.

    Rank r holds one consecutive part of the step's global batch, its micro-batches consecutive parts of that one.
    With `step=0` these are the positions in the global batch, 0 … G−1, which `Draws` is indexed by.

    Raises:
        ValueError: if world·accumulate does not divide the global batch, or an argument is out of its range.
    """
    local = local_batch(batch, world, accumulate)
    if step < 0 or not 0 <= rank < world or not 0 <= micro < accumulate:
        raise ValueError(
            f"step {step}, rank {rank} of {world}, micro-batch {micro} of {accumulate}; each counts from 0 and must "
            "stay below its number"
        )
    start = step * batch + (rank * accumulate + micro) * local
    return torch.arange(start, start + local)


def local_batch(batch: int, world: int = 1, accumulate: int = 1) -> int:
    """Rows of one micro-batch on one rank.

    Raises:
        ValueError: if world·accumulate does not divide the global batch.
    """
    if min(batch, world, accumulate) < 1 or batch % (world * accumulate):
        raise ValueError(
            f"the global batch of {batch} cannot be divided among {world} processes × {accumulate} micro-batches; "
            f"it must be a positive multiple of {world * accumulate}"
        )
    return batch // (world * accumulate)


class TrainingOrder(Sampler[Tensor]):
    """Rows of every micro-batch of one rank, from `start_step` up to `max_steps`.

    Yields LongTensors of shape (batch / (world·accumulate),), `accumulate` of them per step. Iterating again starts
    again at `start_step`.

    Raises:
        ValueError: if world·accumulate does not divide the global batch, or an argument is out of its range.
    """

    def __init__(
        self,
        size: int,
        batch: int,
        seed: int,
        *,
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
        start_step: int = 0,
        max_steps: int,
    ) -> None:
        if size < 1:
            raise ValueError(f"the training split has {size} rows; at least 1 is needed")
        if not 0 <= start_step <= max_steps:
            raise ValueError(f"start_step is {start_step}; it must lie in 0 … max_steps = {max_steps}")
        positions(start_step, batch, rank, world, accumulate)  # refuses what cannot be divided, before training starts
        self.size, self.batch, self.seed = size, batch, seed
        self.rank, self.world, self.accumulate = rank, world, accumulate
        self.start_step, self.max_steps = start_step, max_steps

    def __len__(self) -> int:
        return (self.max_steps - self.start_step) * self.accumulate

    def __iter__(self) -> Iterator[Tensor]:
        for step in range(self.start_step, self.max_steps):
            for micro in range(self.accumulate):
                yield self.rows(step, micro)

    def rows(self, step: int, micro: int = 0) -> Tensor:
        """Data-set rows of one micro-batch, shape (batch / (world·accumulate),), int64."""
        stream = positions(step, self.batch, self.rank, self.world, self.accumulate, micro)
        first, last = int(stream[0]) // self.size, int(stream[-1]) // self.size
        parts = []
        for epoch in range(first, last + 1):
            start = max(int(stream[0]) - epoch * self.size, 0)
            stop = min(int(stream[-1]) + 1 - epoch * self.size, self.size)
            parts.append(permutation(self.size, self.seed, epoch)[start:stop])
        return torch.cat(parts)


class Sequential(Sampler[Tensor]):
    """Every row once, in order, in batches of `batch`; the last one may be smaller."""

    def __init__(self, size: int, batch: int) -> None:
        if size < 1 or batch < 1:
            raise ValueError(f"size is {size}, batch is {batch}; both must be at least 1")
        self.size, self.batch = size, batch

    def __len__(self) -> int:
        return -(-self.size // self.batch)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(torch.arange(self.size).split(self.batch))

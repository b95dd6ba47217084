"""What a head is: raw output ⇄ (x̂, ε̂) on a path, and what the network is fed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from objectives.paths import Path


def rows(value: Tensor, like: Tensor) -> Tensor:
    """(B,) per-row numbers as (B, 1, …, 1) in `like`'s dtype, to multiply a batch with."""
    return value.to(like.dtype).reshape(-1, *(1,) * (like.dim() - 1))


class Head(ABC):
    """The meaning of a network's raw output.

    The network is called as network(scale(path, t)·z, label(path, t), condition, step). Its raw output, x̂ and ε̂ have
    z's shape, t is (B,). Given z, `decode` and `target` are inverse to one another: decode(target(x, ε)) is (x, ε)
    where z = a·x + b·ε.
    """

    version: ClassVar[int] = 1

    def check(self, path: Path) -> None:
        """Raise ValueError if this head cannot stand on the path."""
        return

    def scale(self, path: Path, t: Tensor) -> Tensor | None:
        """(B,) factor on the network's input, or None for 1."""
        return None

    def label(self, path: Path, t: Tensor) -> Tensor:
        """(B,) noise label that the network is told: t itself unless a head says otherwise."""
        return t

    def time(self, path: Path, label: Tensor) -> Tensor:
        """(B,) path time, the inverse of `label`."""
        return label

    @abstractmethod
    def target(self, path: Path, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The raw output that means (x, ε), built without cancellation: what the loss regresses to."""

    @abstractmethod
    def decode(self, path: Path, raw: Tensor, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(x̂, ε̂) that a raw output means; z = a·x̂ + b·ε̂."""

    def gains(self, path: Path, t: Tensor) -> tuple[Tensor, Tensor]:
        """(∂x̂/∂raw, ∂ε̂/∂raw), each (B,): what an error of the raw output is worth in x̂ and in ε̂.

        `decode` is linear in the raw output; at a given z, a·∂x̂ + b·∂ε̂ = 0.
        """
        one = torch.ones_like(t)[:, None]
        x, noise = self.decode(path, one, torch.zeros_like(one), t)
        return x[:, 0], noise[:, 0]

    def velocity(self, path: Path, raw: Tensor, z: Tensor, t: Tensor) -> Tensor:
        """dz/dτ = (da/dτ)·x̂ + (db/dτ)·ε̂."""
        x, noise = self.decode(path, raw, z, t)
        da, db = path.rates(t)
        return rows(da, z) * x + rows(db, z) * noise

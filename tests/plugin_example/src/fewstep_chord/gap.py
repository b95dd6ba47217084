"""A head that means the same on every path."""

from dataclasses import dataclass

from torch import Tensor

from objectives.heads import Head
from objectives.heads.base import rows
from objectives.paths import Path


@dataclass(frozen=True)
class Gap(Head):
    """Gap: the raw output is r = ε − x on any path, so x̂ = (z − b·r)/(a + b) and ε̂ = (z + a·r)/(a + b)."""

    def target(self, path: Path, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        return noise - x

    def decode(self, path: Path, raw: Tensor, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        a, b = rows(path.a(t), z), rows(path.b(t), z)
        return (z - b * raw) / (a + b), (z + a * raw) / (a + b)

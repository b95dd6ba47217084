"""Two-dimensional point sets with a known shape, for tests and for pictures one can read at a glance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datamodules.base import DataModule, Rows
from datamodules.spec import DataSpec

Array = npt.NDArray[np.float64]
Distribution = Literal["checkerboard", "moons", "mixture", "spirals"]

PICTURE = 64
REACH = 3.0


class Points(DataModule):
    """Points in the plane: checkerboard, moons, Gaussian mixture or spirals, made from a seed.

    Every distribution has mean 0 and, averaged over the two coordinates, variance 1, both by its formula. The
    held-out points are further draws, a quarter as many as the training points.

    Args:
        distribution: checkerboard (8 of 4×4 squares), moons (two half circles), mixture (8 Gaussians on a circle)
            or spirals (two arms).
        size: number of training points.
        seed: which points are drawn; part of the data, not the run's seed.

    Raises:
        ValueError: for another distribution, fewer than 4 points or a negative seed.
    """

    features: ClassVar[str] = "coordinates"

    def __init__(self, *, distribution: Distribution = "checkerboard", size: int = 4000, seed: int = 0) -> None:
        if distribution not in get_args(Distribution):
            allowed = ", ".join(get_args(Distribution))
            raise ValueError(f"distribution is {distribution!r}; it is one of {allowed}")
        if size < 4:
            raise ValueError(f"size is {size}; at least 4 points are needed")
        if seed < 0:
            raise ValueError(f"seed is {seed}; it must not be negative")
        self.distribution: Distribution = distribution
        self.size, self.seed = size, seed

    @property
    def spec(self) -> DataSpec:
        return DataSpec(shape=(2,), data_std=1.0)

    def load(self) -> tuple[Rows, Rows]:
        total = self.size + self.size // 4
        u, normal = _uniforms(total, self.seed)
        x = torch.from_numpy(SHAPES[self.distribution](u, normal)).float()
        return Rows(x[: self.size]), Rows(x[self.size :])

    def to_images(self, x: Tensor) -> Tensor:
        """One picture of the whole set, (1, 1, 64, 64), uint8: the density on [−3, 3]², the fullest cell 255."""
        finite = x.detach().double().cpu()
        finite = finite[finite.isfinite().all(dim=1)]
        edges = [-REACH, REACH, -REACH, REACH]
        counts = torch.histogramdd(finite, bins=[PICTURE, PICTURE], range=edges).hist
        upright = counts.T.flip(0)
        return (upright / upright.max().clamp(min=1) * 255).round().byte()[None, None]


def _uniforms(rows: int, seed: int) -> tuple[Array, Array]:
    """Uniforms in (0, 1), (rows, 3), and normals, (rows, 2), from words that NumPy promises for ever."""
    words = np.random.Philox(key=seed).random_raw(5 * rows).reshape(rows, 5)
    u = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius, angle = np.sqrt(-2 * np.log(u[:, 3])), 2 * np.pi * u[:, 4]
    return u[:, :3], np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def checkerboard(u: Array, normal: Array) -> Array:
    """Uniform on the dark squares of a 4 × 4 board of side 2√3."""
    del normal
    column = np.floor(4 * u[:, 0])
    row = 2 * np.floor(2 * u[:, 1]) + column % 2
    within_row = 2 * u[:, 1] - np.floor(2 * u[:, 1])
    cells = np.stack([4 * u[:, 0], row + within_row], axis=1)
    return math.sqrt(3) * (cells / 2 - 1)


def moons(u: Array, normal: Array, noise: float = 0.05) -> Array:
    """Two interleaved half circles of radius 1 with Gaussian noise, then centred and scaled.

    Before scaling the variances are 3/4 and 9/16 − 1/π, each plus noise².
    """
    angle, lower = np.pi * u[:, 0], u[:, 1] < 0.5
    x = np.where(lower, 1 - np.cos(angle), np.cos(angle)) - 0.5
    y = np.where(lower, 0.5 - np.sin(angle), np.sin(angle)) - 0.25
    variance = (3 / 4 + 9 / 16 - 1 / np.pi) / 2 + noise**2
    return (np.stack([x, y], axis=1) + noise * normal) / math.sqrt(variance)


def mixture(u: Array, normal: Array, components: int = 8, std: float = 0.1) -> Array:
    """Equal Gaussians of the given deviation, evenly on a circle of radius √(2·(1 − std²))."""
    angle = 2 * np.pi * np.floor(components * u[:, 0]) / components
    radius = math.sqrt(2 * (1 - std**2))
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1) + std * normal


def spirals(u: Array, normal: Array, turns: float = 1.5, noise: float = 0.03) -> Array:
    """Two arms r ∝ angle, opposite one another, with r² uniform, so that the density along an arm is nearly even."""
    root, side = np.sqrt(u[:, 0]), np.where(u[:, 1] < 0.5, 1.0, -1.0)
    angle, radius = 2 * np.pi * turns * root, 2 * math.sqrt(1 - noise**2) * root
    arm = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (side * radius)[:, None] * arm + noise * normal


SHAPES: dict[Distribution, Callable[[Array, Array], Array]] = {
    "checkerboard": checkerboard,
    "moons": moons,
    "mixture": mixture,
    "spirals": spirals,
}

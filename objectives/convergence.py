"""How fast solvers converge, measured on data whose exact flow is known."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from objectives.base import Objective
from objectives.draws import Draws
from objectives.log_snr import time_of_log_snr
from objectives.oracle import GaussianMixture
from objectives.paths import Path
from objectives.solvers import Solver

FIRST, LAST = 0.95, 0.05
_ROWS = 32
_STRONG, _WEAK = (64, 128, 256, 512), (64, 128, 256)
_FINEST = 1e-8  # above the error of the reference and of rounding


@dataclass(frozen=True)
class Convergence:
    """Errors of solutions in so many steps; `order` is the slope of log error on log step over the last doubling."""

    steps: tuple[int, ...]
    errors: tuple[float, ...]

    @property
    def order(self) -> float:
        return math.log2(self.errors[-2] / self.errors[-1])


def even_times(path: Path, steps: int, even: Literal["tau", "log_snr"]) -> Tensor:
    """(steps+1,) float64 path times from FIRST to LAST at equal distances in τ or in the log-SNR."""
    ends = torch.tensor([FIRST, LAST], dtype=torch.float64)
    if even == "log_snr":
        first, last = path.log_snr(ends).tolist()
        times = time_of_log_snr(path, torch.linspace(first, last, steps + 1, dtype=torch.float64))
    else:
        first, last = path.clock(ends).tolist()
        times = path.time(torch.linspace(first, last, steps + 1, dtype=torch.float64))
    return torch.cat((ends[:1], times[1:-1], ends[1:]))


def strong(solver: Solver, objective: Objective, *, even: Literal["tau", "log_snr"] = "tau") -> Convergence:
    """Root mean square distance from the exact flow map between t = 0.95 and 0.05, on a mixture in the plane.

    Args:
        solver: a deterministic solver.
        objective: a many-step objective; the oracle is its network.
        even: in what the steps are equal.
    """
    z, exact = reference(objective.path)
    network = plane().network(objective)

    def error(steps: int) -> float:
        times = even_times(objective.path, steps, even)
        return float((solver.solve(objective, network, z, times, None) - exact).square().mean().sqrt())

    return _doubled(error, _STRONG)


def weak(solver: Solver, objective: Objective) -> Convergence:
    """Distance of (mean, variance) from the exact ones at t = 0.05, on one Gaussian, from the exact law at t = 0.95.

    With a Gaussian the solution is affine in its start and in every random number, so its mean and variance are had
    without sampling: one row is the mean, each other one shows what one of these numbers moves. Steps are equal in λ.

    Args:
        solver: a solver of an SDE, stochastic or not.
        objective: a many-step objective; the oracle is its network.
    """
    path = objective.path
    data = GaussianMixture(torch.tensor([[0.7]]), torch.tensor([0.4]))
    ends = torch.tensor([FIRST, LAST], dtype=torch.float64)
    means = path.a(ends) * data.means[0, 0]
    variances = (path.a(ends) * data.stds[0]) ** 2 + path.b(ends) ** 2

    def error(steps: int) -> float:
        rows = steps + 2
        z = means[0].repeat(rows, 1)
        z = z + torch.nn.functional.one_hot(torch.tensor([1]), rows).T * variances[0].sqrt()
        times = even_times(path, steps, "log_snr")
        out = solver.solve(objective, data.network(objective), z, times, None, draws=OneAtATime(rows))
        mean, moved = out[0, 0], out[1:, 0] - out[0, 0]
        return float(torch.hypot(mean - means[1], moved.square().sum() - variances[1]))

    return _doubled(error, _WEAK)


class OneAtATime(Draws):
    """Draws of which the k-th that is asked for is 1 in row k + 2 and 0 elsewhere."""

    def __init__(self, rows: int) -> None:
        super().__init__(0, 0, torch.arange(rows))
        self.next = 2

    def normal(self, name: str, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """1 in the row whose turn it is."""
        values = (self.index == self.next).to(dtype)
        self.next += 1
        return values.reshape(-1, *(1,) * (len(shape) - 1)).expand(tuple(shape))


def _doubled(error: Callable[[int], float], counts: tuple[int, ...]) -> Convergence:
    errors: list[float] = []
    for steps in counts:
        errors.append(error(steps))
        if len(errors) > 1 and errors[-1] < _FINEST:
            break
    return Convergence(counts[: len(errors)], tuple(errors))


def plane() -> GaussianMixture:
    """Three overlapping Gaussians in the plane, of unequal weight and width."""
    means = torch.tensor([[-1.0, 0.3], [0.8, 0.9], [0.4, -0.8]])
    return GaussianMixture(means, torch.tensor([0.5, 0.3, 0.6]), torch.tensor([0.3, 0.3, 0.4]))


@functools.cache
def reference(path: Path) -> tuple[Tensor, Tensor]:
    """(z at FIRST, z at LAST) of the exact flow."""
    first, last = (torch.full((_ROWS,), t, dtype=torch.float64) for t in (FIRST, LAST))
    noise = Draws(7, 0, torch.arange(_ROWS)).normal("noise", (_ROWS, 2), torch.float64)
    z = noise * path.b(first)[:, None]
    return z, plane().flow_map(path, z, first, last)

"""The adaptive method of Dormand and Prince."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from objectives.base import Network, Objective
from objectives.condition import Condition
from objectives.draws import AnyDraws
from objectives.log_snr import time_of_log_snr
from objectives.paths import Path
from objectives.solvers.base import OnStep, Solver, report, walk


@dataclass(frozen=True)
class Dopri5(Solver):
    """Dormand–Prince 5(4): as many evaluations as its tolerance asks for.

    Each of the grid's steps is integrated adaptively, so that more of them cost more and gain little: one step is
    enough. The last stretch, where heads and rates may be singular, is one step of Euler's. A step's error is the
    root mean square over a sample's elements, in the worst row of the batch.
    Source: Dormand and Prince 1980; torchdiffeq.

    Args:
        rtol, atol: relative and absolute tolerance of a step.
        sigma_min: noise-to-signal ratio b/a at which the adaptive integration ends.

    Raises:
        ValueError: tolerances that are not positive, sigma_min outside (0, 0.1].
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    sigma_min: float = 1e-3

    name: ClassVar[str] = "dopri5"

    def __post_init__(self) -> None:
        if not (0 < self.rtol < 1 and 0 < self.atol < 1):
            raise ValueError(f"dopri5 takes tolerances in (0, 1), got rtol={self.rtol}, atol={self.atol}")
        if not 0 < self.sigma_min <= 0.1:
            raise ValueError(f"dopri5 takes sigma_min in (0, 0.1], got {self.sigma_min}")

    def last(self, path: Path) -> float:
        """τ at which the adaptive integration ends."""
        ratio = torch.tensor([self.sigma_min], dtype=torch.float64)
        return float(path.clock(time_of_log_snr(path, -2 * torch.log(ratio))))

    def solve(
        self,
        objective: Objective,
        network: Network,
        z: Tensor,
        times: Tensor,
        condition: Condition,
        *,
        draws: AnyDraws | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        path = objective.path
        for step in walk(objective, z, times):
            length = step.length

            def velocity(tau: Tensor, z: Tensor, length: Tensor | None = length) -> Tensor:
                t = path.time(tau.to(torch.float64)).expand(len(z))
                return objective.velocity(network, z, t, condition, length)

            last, end = step.tau + step.change, step.tau + step.change
            if step.end == 0:
                last = min(self.last(path), step.tau)
            z = integrate(velocity, z, step.tau, last, rtol=self.rtol, atol=self.atol)
            if last != end:
                z = z + (end - last) * velocity(step.t.new_tensor(last), z)
            z = report(on_step, step, z)
        return z


def rms(error: Tensor) -> Tensor:
    """(B,) root mean square over each row's elements."""
    return error.flatten(1).square().mean(1).sqrt()


def integrate(
    slope: Callable[[Tensor, Tensor], Tensor],
    z: Tensor,
    start: float,
    end: float,
    *,
    rtol: float,
    atol: float,
    norm: Callable[[Tensor], Tensor] = rms,
) -> Tensor:
    """z at `end` from dz/dτ = slope(τ, z) and z (B, …) at `start`, adaptively; τ is a float64 scalar.

    One step size serves the whole batch: `norm` measures the error of its rows, (B, …) → (B,), and the worst decides.

    Raises:
        ValueError: tolerances below what z's dtype resolves.
        FloatingPointError: a slope that is not finite, or that no step resolves.
    """
    from torchdiffeq import odeint

    finest = 10 * torch.finfo(z.dtype).eps
    if min(rtol, atol) < finest:
        raise ValueError(f"in {z.dtype} a tolerance is at least {finest:.1e}, got rtol={rtol}, atol={atol}")
    if start == end:
        return z

    def inside(tau: Tensor, z: Tensor) -> Tensor:
        return slope(tau.clamp(min(start, end), max(start, end)), z)

    def worst(error: Tensor) -> Tensor:
        return norm(error.reshape(z.shape)).max()

    ends = torch.tensor([start, end], dtype=torch.float64, device=z.device)
    # Steps land on the end: one that went beyond it, to interpolate, would ask for times that there are not.
    options = {"norm": worst, "dtype": torch.float64, "step_t": ends[1:]}
    try:
        found = odeint(inside, z, ends, rtol=rtol, atol=atol, method="dopri5", options=options)
    except AssertionError as error:
        raise FloatingPointError(f"dopri5 cannot go on, the network's output may not be finite: {error}") from error
    assert isinstance(found, Tensor)
    return found[-1]

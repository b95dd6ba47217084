"""A power law with a floor through losses at several amounts of compute, and how far it may be carried on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from experiments.report.statistics.intervals import Estimate, t_quantile

LEAST = 4
"""Different amounts of compute below which nothing is left over three parameters."""
EXPONENTS = np.geomspace(1e-3, 4.0, 240)

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PowerLaw:
    """L = a·C^−b + c by least squares of relative residuals, ``a`` in the units of C as given.

    ``residuals`` are (L_i − L̂_i)/L_i and ``error`` is their standard deviation, √(Σr²/(n − 3)). ``b`` and ``c`` have
    profile intervals. Nothing holds c above 0: an interval of c that reaches below 0 says that the points do not know
    the floor.
    """

    a: float
    b: Estimate
    c: Estimate
    residuals: tuple[float, ...]
    error: float
    profile: Profile = field(repr=False)

    def at(self, compute: float) -> float:
        """The loss of the fit at so much compute."""
        return self.a * compute**-self.b.value + self.c.value

    def next_run(self, compute: float) -> tuple[float, float]:
        """Ends of the 95 % interval of the loss of one further run at so much compute, none below 0."""
        low, high = self.profile.interval(compute, new=True)
        return max(0.0, low), high


class Profile:
    """Sums of squares over the exponents; for each the law is linear in its other two parameters.

    With u = (x^−b − 1)/b, which becomes −ln x as b goes to 0, and x the compute over its geometric mean, L = A·u + d.
    S_b is the least weighted sum of squares at b. A value y at x* is in the interval when
    min_b S_b + (y − ŷ_b)²/(v_b + w) ≤ S_min·(1 + t²/(n − 3)): for a known b the classical interval of a line. v_b·σ²
    is the variance of the fitted value, w·σ² that of a new run about it, 0 where the curve itself is asked for.
    """

    def __init__(self, compute: Array, loss: Array):
        self.n, self.unit = len(compute), float(np.exp(np.mean(np.log(compute))))
        self._x, self._loss, self._weight = compute / self.unit, loss, loss**-2
        self._set(EXPONENTS)

    def _set(self, exponents: Array) -> None:
        self.b = exponents
        u = _u(self._x, exponents)
        w, y = self._weight, self._loss
        s0, s1, s2 = w.sum(), (w * u).sum(1), (w * u * u).sum(1)
        t0, t1 = (w * y).sum(), (w * u * y).sum(1)
        self._mean, self._within = s1 / s0, s2 - s1**2 / s0
        self.slope = (t1 - s1 * t0 / s0) / self._within
        self.level = t0 / s0 - self.slope * self._mean
        self._s0 = s0
        self.squares = (w * (y - self.slope[:, None] * u - self.level[:, None]) ** 2).sum(1)

    def refine(self) -> int:
        """Make the exponents fine around the best one; the index of the best."""
        for _ in range(3):
            best = int(np.argmin(self.squares))
            near = self.b[max(0, best - 1) : best + 2]
            self._set(np.unique(np.concatenate([self.b, np.geomspace(near[0], near[-1], 41)])))
        return int(np.argmin(self.squares))

    @property
    def threshold(self) -> float:
        """The sum of squares up to which parameters are in a 95 % interval."""
        least = float(self.squares.min())
        return least * (1 + t_quantile(self.n - 3) ** 2 / (self.n - 3))

    def interval(self, compute: float, *, new: bool) -> tuple[float, float]:
        """Ends of the interval of the curve (of one ``new`` run) at so much compute."""
        return self._ends(_u(np.array([compute / self.unit]), self.b)[:, 0], new=new)

    def floor(self) -> tuple[float, float]:
        """Ends of the interval of c, the limit at infinite compute: u goes to −1/b."""
        return self._ends(-1 / self.b, new=False)

    def exponent(self) -> tuple[float, float]:
        """Ends of the interval of b, within the exponents that are looked at."""
        inside = self.b[self.squares <= self.threshold]
        return float(inside.min()), float(inside.max())

    def _ends(self, u: Array, *, new: bool) -> tuple[float, float]:
        middle = self.slope * u + self.level
        variance = 1 / self._s0 + (u - self._mean) ** 2 / self._within + (middle**2 if new else 0)
        inside = self.squares <= self.threshold
        half = np.sqrt(variance[inside] * (self.threshold - self.squares[inside]))
        return float((middle[inside] - half).min()), float((middle[inside] + half).max())


def fit_power_law(compute: Sequence[float], loss: Sequence[float]) -> PowerLaw | str:
    """The law through ``loss`` at ``compute``, or the reason why there is none.

    Args:
        compute: > 0, one for each loss, in any unit.
        loss: > 0; relative errors are taken to be alike.
    """
    x, y = np.asarray(compute, dtype=np.float64), np.asarray(loss, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"compute and loss must be two lists of one length, not of the shapes {x.shape} and {y.shape}")
    kept = np.isfinite(x) & np.isfinite(y)
    x, y = x[kept], y[kept]
    if len(np.unique(x)) < LEAST:
        return f"fewer than {LEAST} different amounts of compute"
    if (x <= 0).any() or (y <= 0).any():
        return "compute and losses must be above 0"
    profile = Profile(x, y)
    best = profile.refine()
    b, slope = float(profile.b[best]), float(profile.slope[best])
    if slope <= 0:
        return "the loss does not fall with compute"
    c, a = float(profile.level[best]) - slope / b, slope / b * profile.unit**b
    residuals = (y - a * x**-b - c) / y
    error = math.sqrt(float(profile.squares[best]) / (len(x) - 3))
    exponent, floor = Estimate(b, *profile.exponent()), Estimate(c, *profile.floor())
    return PowerLaw(a, exponent, floor, tuple(residuals.tolist()), error, profile)


def _u(x: Array, b: Array) -> Array:
    """(exponents, points) of (x^−b − 1)/b."""
    return np.expm1(-np.log(x)[None, :] * b[:, None]) / b[:, None]

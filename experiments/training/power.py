"""Power-function averages of the weights over training, and any one of them from snapshots of a few.

The profile of exponent γ weighs the weights θ(τ) of step τ by p(τ) ∝ τ^γ, so that it stretches with the training:

    θ̂_γ(t) = (γ+1)/t^{γ+1} ∫₀ᵗ τ^γ θ(τ) dτ

It is told by its relative width σ_rel, the standard deviation of the profile over t. Karras et al., "Analyzing and
Improving the Training Dynamics of Diffusion Models" (EDM2), 2024 (arXiv 2312.02696), §3 and appendix C. Everything in
float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

WIDEST = math.sqrt(1 / 12)
"""σ_rel of γ = 0, the plain mean of all steps; wider profiles would weigh the beginning most."""


def width(exponent: float) -> float:
    """σ_rel = √((γ+1) / ((γ+2)²(γ+3))) of a profile's exponent γ ≥ 0 (EDM2, eq. 123)."""
    return math.sqrt((exponent + 1) / ((exponent + 2) ** 2 * (exponent + 3)))


def exponent(sigma_rel: float) -> float:
    """γ of a relative width: the largest root of γ³ + 7γ² + (16 − σ⁻²)γ + (12 − σ⁻²) = 0 (EDM2, eq. 126).

    Raises:
        ValueError: ``sigma_rel`` is not within (0, √(1/12)].
    """
    if not 0 < sigma_rel <= WIDEST:
        raise ValueError(f"sigma_rel = {sigma_rel}: a relative width, above 0 and at most {WIDEST:.4f}")
    inverse = sigma_rel**-2
    root = max(root.real for root in np.roots([1, 7, 16 - inverse, 12 - inverse]) if abs(root.imag) < 1e-6)
    return max(float(root), 0.0)


def factor(gamma: float, step: int, elapsed: int) -> float:
    """β = (1 − Δt/t)^{γ+1} of the update at step t, ``elapsed`` = Δt ≤ t steps after the last (EDM2, eq. 127)."""
    return (1 - elapsed / step) ** (gamma + 1)


def products(gammas: Vector, times: Vector, gamma: Vector, time: Vector) -> Vector:
    """Inner products ∫ p_a p_b of profiles (γ_a, t_a) (N,) with profiles (γ_b, t_b) (M,): (N, M) (EDM2, eq. 151).

    (γ_a+1)(γ_b+1)/(γ_a+γ_b+1) · (t_a/t_b)^e / max(t_a, t_b), where e = γ_b if t_a < t_b, else −γ_a.
    """
    a, b = gammas[:, None], gamma[None, :]
    t_a, t_b = times[:, None], time[None, :]
    ratio = t_a / t_b
    power = np.where(t_a < t_b, ratio ** np.where(t_a < t_b, b, 0.0), ratio ** np.where(t_a < t_b, 0.0, -a))
    return (a + 1) * (b + 1) / (a + b + 1) * power / np.maximum(t_a, t_b)


def coefficients(widths: Sequence[float], times: Sequence[float], sigma_rel: float, time: float) -> Vector:
    """Weights (N,) of snapshots whose sum is the least-squares approximation of another profile; they add up to 1.

    Minimises ∫ (Σᵢ xᵢ pᵢ − p)²: A x = b with the inner products of the profiles (EDM2, eq. 148), A scaled to a unit
    diagonal beforehand. A profile that is itself among the snapshots comes back as that snapshot.

    Args:
        widths: σ_rel of each snapshot's profile.
        times: its step t > 0; no two snapshots share both.
        sigma_rel: of the profile that is wanted.
        time: its step.

    Raises:
        ValueError: no snapshots, lengths that differ, or a width out of range.
    """
    if not len(widths) == len(times) > 0:
        raise ValueError(f"{len(widths)} widths and {len(times)} times; one of each per snapshot, at least one")
    gammas, steps = np.array([exponent(one) for one in widths]), np.array(times, dtype=np.float64)
    gamma, step = np.array([exponent(sigma_rel)]), np.array([time], dtype=np.float64)
    gram = products(gammas, steps, gammas, steps)
    scale = 1 / np.sqrt(np.diag(gram))
    right = products(gammas, steps, gamma, step)[:, 0]
    solution = scale * np.linalg.solve(gram * np.outer(scale, scale), right * scale)
    return solution / solution.sum()


def discrepancy(widths: Sequence[float], times: Sequence[float], sigma_rel: float, time: float) -> float:
    """‖Σᵢ xᵢ pᵢ − p‖ / ‖p‖ of :func:`coefficients`' approximation: 0 where the profile is met exactly."""
    x = coefficients(widths, times, sigma_rel, time)
    gammas, steps = np.array([exponent(one) for one in widths]), np.array(times, dtype=np.float64)
    gamma, step = np.array([exponent(sigma_rel)]), np.array([time], dtype=np.float64)
    norm = products(gamma, step, gamma, step).item()
    error = x @ products(gammas, steps, gammas, steps) @ x - 2 * x @ products(gammas, steps, gamma, step)[:, 0] + norm
    return math.sqrt(max(error, 0.0) / norm)

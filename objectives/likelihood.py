"""Exact log-likelihood by the flow's change of variables."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from objectives.base import Network, Objective
from objectives.condition import Condition
from objectives.draws import AnyDraws
from objectives.sampling import Counter
from objectives.solvers import Dopri5
from objectives.solvers.dopri5 import integrate, rms


@torch.no_grad()
def log_likelihood(
    objective: Objective,
    network: Network,
    x: Tensor,
    condition: Condition,
    *,
    divergence: Literal["exact", "hutchinson"] = "exact",
    probes: int = 1,
    draws: AnyDraws | None = None,
    solver: Dopri5 | None = None,
    network_dtype: torch.dtype | None = None,
) -> Tensor:
    """(B,) ln p(x) in nats, of the density that sampling along the exact ODE has.

    ln p(x) = ln N(z; 0, s²I) + ∫ ∇·v dτ, where z is where the ODE dz/dτ = v carries x from the data to the noise, and
    s the deviation of the prior. The divergence is exact (one backward pass for each element) or Hutchinson's unbiased
    estimate, the mean of eᵀ(∂v/∂z)e over random signs e, the same ones all along the way. The stretch from the data
    to the solver's sigma_min is one step of Euler's.
    Source: Chen et al. 2018 (neural ODEs); Grathwohl et al. 2019 (FFJORD); Song et al. 2021 (score SDEs), D.2.

    Args:
        objective: what the network was trained with.
        network: network(z, t, condition, step=None), differentiable in z.
        x: (B, …) data, in the dtype to compute in.
        condition: None or a dict of tensors with leading B.
        divergence: "exact" or "hutchinson".
        probes: random directions of Hutchinson's estimate.
        draws: random numbers of Hutchinson's estimate, named "probe".
        solver: the adaptive solver, for its tolerances and sigma_min.
        network_dtype: what the network is fed where that is not x's dtype.

    Raises:
        ValueError: an objective that dopri5 does not serve, an unknown divergence, fewer than one probe, Hutchinson's
            estimate without draws.
    """
    solver = Dopri5() if solver is None else solver
    solver.check(objective)
    signs = _signs(divergence, probes, draws, x)
    path, size = objective.path, x[0].numel()
    own = Counter(network_dtype).watch(network)

    def slope(tau: Tensor, state: Tensor) -> Tensor:
        t = path.time(tau.to(torch.float64)).expand(len(x))
        with torch.enable_grad():
            z = state[:, :-1].detach().reshape(x.shape).requires_grad_()
            v = objective.velocity(own, z, t, condition).flatten(1)
            change = _divergence(v, z, signs)
        return torch.cat((v.detach(), change[:, None]), dim=1)

    start, end = solver.last(path), float(path.clock(torch.tensor(path.t_max, dtype=torch.float64)))
    state = torch.cat((x.flatten(1), x.new_zeros(len(x), 1)), dim=1)
    state = state + start * slope(torch.tensor(start, dtype=torch.float64, device=x.device), state)
    state = integrate(slope, state, start, end, rtol=solver.rtol, atol=solver.atol, norm=_either)
    deviation = float(objective.prior(torch.ones(1, dtype=torch.float64)))
    squares = (state[:, :size] / deviation).square().sum(1)
    return state[:, size] - 0.5 * squares - size * (math.log(deviation) + 0.5 * math.log(2 * math.pi))


def bits_per_dimension(log_likelihood: Tensor, dimensions: int, *, bin_width: float = 1.0) -> Tensor:
    """−(ln p + D·ln Δ)/(D·ln 2): bits that an element costs, for (B,) densities ln p in nats of D dimensions.

    Args:
        bin_width: Δ, the width in x's units of the cell that an element stands for. 1 gives the density's own bits;
            2/255 those of 8-bit images scaled to [−1, 1], where x was dequantised uniformly over a cell.
    """
    if dimensions < 1 or not 0 < bin_width < math.inf:
        raise ValueError(f"takes at least 1 dimension and a positive width, got {dimensions} and {bin_width}")
    return -(log_likelihood / dimensions + math.log(bin_width)) / math.log(2)


def _either(error: Tensor) -> Tensor:
    """(B,) error of (z, ∫ ∇·v dτ) (B, D+1): of the integral as it is, not as one element among D."""
    return torch.maximum(rms(error[:, :-1]), error[:, -1].abs())


def _signs(divergence: str, probes: int, draws: AnyDraws | None, x: Tensor) -> Tensor | None:
    """(probes, B, D) random signs, or None where the divergence is exact."""
    if divergence == "exact":
        return None
    if divergence != "hutchinson":
        raise ValueError(f"the divergence is one of exact, hutchinson; got {divergence!r}")
    if probes < 1:
        raise ValueError(f"hutchinson takes at least one probe, got {probes}")
    if draws is None:
        raise ValueError("hutchinson needs draws for its probes")
    uniforms = draws.uniform("probe", (len(x), probes, x[0].numel()), x.dtype)
    return torch.where(uniforms < 0.5, -1.0, 1.0).to(x.dtype).transpose(0, 1)


def _divergence(v: Tensor, z: Tensor, signs: Tensor | None) -> Tensor:
    """(B,) ∇·v of v (B, D), a function of z row by row."""

    def pulled(direction: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(v, z, direction, retain_graph=True)
        return gradient.flatten(1)

    if signs is not None:
        return torch.stack([(pulled(sign) * sign).sum(1) for sign in signs]).mean(0)
    units = torch.eye(v.shape[1], dtype=v.dtype, device=v.device)
    return torch.stack([pulled(unit.expand_as(v))[:, i] for i, unit in enumerate(units)]).sum(0)

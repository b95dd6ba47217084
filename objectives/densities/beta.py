"""The Beta density."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from objectives.densities.base import TimeDensity

_REACH, _KNOTS = 40.0, 8001
_WIDTH = 2 * _REACH / (_KNOTS - 1)
_NEWTON_STEPS = 2


@dataclass(frozen=True)
class Beta(TimeDensity):
    """Beta: π(t) = t^(α−1)·(1 − t)^(β−1) / B(α, β).

    Mean α/(α + β). Below 1 a parameter makes its end infinitely dense: α data, β noise. The quantile function has no
    closed form; it is tabulated once, logit t against logit u, with its exact slopes (cubic Hermite, good to 1e-9),
    and runs straight on beyond the table, as the function does.

    Args:
        alpha, beta: in [0.2, 100].

    Raises:
        ValueError: a parameter out of range; beyond these bounds times collapse onto the ends or onto a point.
    """

    alpha: float = 2.0
    beta: float = 2.0

    def __post_init__(self) -> None:
        for name, value in (("alpha", self.alpha), ("beta", self.beta)):
            if not 0.2 <= value <= 100:
                raise ValueError(f"beta takes an {name} in [0.2, 100], got {value}")

    def quantile(self, u: Tensor) -> Tensor:
        logits, slopes = _table(self, u.device)
        logit_u = torch.logit(u.to(torch.float64))
        inside = logit_u.clamp(-_REACH, _REACH)
        place = (inside + _REACH) / _WIDTH
        left = place.detach().floor().clamp(max=_KNOTS - 2).long()
        beyond = torch.where(logit_u < 0, slopes[0], slopes[-1]) * (logit_u - inside)
        return torch.sigmoid(_cubic(logits, slopes, left, place - left)[0] + beyond).to(u.dtype)

    def cdf(self, t: Tensor) -> Tensor:
        logits, slopes = _table(self, t.device)
        logit_t = torch.logit(t.to(torch.float64))
        inside = torch.minimum(torch.maximum(logit_t, logits[0]), logits[-1])
        left = (torch.searchsorted(logits, inside.contiguous()) - 1).clamp(0, _KNOTS - 2)
        s = (inside - logits[left]) / (logits[left + 1] - logits[left])
        for _ in range(_NEWTON_STEPS):
            value, slope = _cubic(logits, slopes, left, s)
            s = s - (value - inside) / slope
        beyond = (logit_t - inside) / torch.where(logit_t < 0, slopes[0], slopes[-1])
        return torch.sigmoid((left + s) * _WIDTH - _REACH + beyond).to(t.dtype)

    def pdf(self, t: Tensor) -> Tensor:
        wide = t.to(torch.float64)
        logs = torch.special.xlogy(self.alpha - 1, wide) + torch.special.xlog1py(self.beta - 1, -wide)
        return torch.exp(logs - self._log_beta).to(t.dtype)

    @property
    def _log_beta(self) -> float:
        return math.lgamma(self.alpha) + math.lgamma(self.beta) - math.lgamma(self.alpha + self.beta)


def _cubic(logits: Tensor, slopes: Tensor, left: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """logit t at a share s in [0, 1] of the way from knot `left` to the next, and its derivative in s."""
    y0, y1, m0, m1 = logits[left], logits[left + 1], _WIDTH * slopes[left], _WIDTH * slopes[left + 1]
    second, third = 3 * (y1 - y0) - 2 * m0 - m1, m0 + m1 - 2 * (y1 - y0)
    return y0 + s * (m0 + s * (second + s * third)), m0 + s * (2 * second + s * 3 * third)


def _inverse(alpha: float, beta: float, u: np.ndarray) -> np.ndarray:
    """The quantile of u; of tiny u, of which SciPy may find none (at α = 1.03, β = 0.25), by its series' first term."""
    from scipy import special

    t = special.betaincinv(alpha, beta, u)
    return np.where(np.isnan(t) & (u < 1e-12), (u * alpha * special.beta(alpha, beta)) ** (1 / alpha), t)


@functools.lru_cache(maxsize=64)
def _table(density: Beta, device: torch.device) -> tuple[Tensor, Tensor]:
    """logit t at evenly spaced logit u, and d logit t/d logit u there; each half from its own end, without 1 − t."""
    alpha, beta = density.alpha, density.beta
    logit_u = torch.linspace(-_REACH, _REACH, _KNOTS, dtype=torch.float64, device="cpu")
    lower, upper = torch.sigmoid(logit_u).numpy(), torch.sigmoid(-logit_u).numpy()
    t = torch.from_numpy(_inverse(alpha, beta, lower))
    rest = torch.from_numpy(_inverse(beta, alpha, upper))
    log_t = torch.where(t < 0.5, t.log(), torch.log1p(-rest))
    log_rest = torch.where(t < 0.5, torch.log1p(-t), rest.log())
    log_slope = torch.nn.functional.logsigmoid(logit_u) + torch.nn.functional.logsigmoid(-logit_u)
    log_slope = log_slope - (alpha * log_t + beta * log_rest - density._log_beta)
    return (log_t - log_rest).to(device), log_slope.exp().to(device)

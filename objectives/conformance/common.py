"""What the kits share: Hypothesis settings, the data, tests of uniformity, of a zero mean and of equal laws."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, settings
from scipy import stats
from torch import Tensor

from objectives.convergence import plane
from objectives.draws import Draws
from objectives.oracle import GaussianMixture

LEVEL = 1e-4
_QUIET = [HealthCheck.differing_executors, HealthCheck.too_slow]
EXACT = settings(derandomize=True, deadline=None, max_examples=25, suppress_health_check=_QUIET)
STATISTICAL = settings(derandomize=True, deadline=None, max_examples=3, suppress_health_check=_QUIET)


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    """Raise AssertionError unless equal within a relative and absolute tolerance."""
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def mixture() -> GaussianMixture:
    """The data of the kits: three Gaussians in the plane, overlapping, of unequal weight and width."""
    return plane()


def draws(rows: int, *, step: int = 0) -> Draws:
    """Random numbers for the rows 0 … rows−1."""
    return Draws(7, step, torch.arange(rows))


def uniformity(uniforms: Tensor, bins: int) -> float:
    """p-value of Pearson's chi-square test that (N, D) numbers are uniform in the unit cube, bins^D cells."""
    cells = (uniforms * bins).long().clamp(0, bins - 1)
    place = bins ** torch.arange(uniforms.shape[1])
    counts = torch.bincount((cells * place).sum(1), minlength=bins ** uniforms.shape[1])
    return float(stats.chisquare(counts.numpy()).pvalue)


def zero_mean(values: Tensor) -> float:
    """p-value of Hotelling's test that (N, J) independent rows have mean zero; 1 where they are but rounding."""
    if float(values.abs().max()) < 1e-9:
        return 1.0
    n, mean = len(values), values.mean(0)
    statistic = n * mean @ torch.linalg.pinv(torch.cov(values.T), hermitian=True) @ mean
    return float(stats.chi2.sf(float(statistic), values.shape[1]))


def same_law(x: Tensor, y: Tensor, *, blocks: int = 32, permutations: int = 100_000) -> float:
    """p-value of the permutation test on the energy distance that (N, D) and (N, D) independent rows share one law.

    Rows are exchanged in blocks of N/blocks: still an exact test, since blocks are exchangeable where rows are, and one
    whose statistic needs the blocks' mean distances alone. With 32 blocks there are 64!/(32!)² ≈ 2·10¹⁸ exchanges, of
    which `permutations` random ones are taken; a p-value is never below 1/(permutations + 1).
    """
    parts = torch.cat((x, y)).float().view(2 * blocks, -1, x.shape[1])
    distance = torch.stack([torch.cdist(part, parts.flatten(0, 1)).view(part.shape[0], 2 * blocks, -1).mean((0, 2))
                            for part in parts]).double()  # fmt: skip
    sides = torch.cat((torch.ones(blocks), -torch.ones(blocks))).double()
    generator, exceeded = torch.Generator().manual_seed(0), 1
    observed = -(sides @ distance @ sides)
    for chunk in torch.full((permutations,), 1).split(20_000):
        order = torch.rand(len(chunk), 2 * blocks, generator=generator).argsort(1)
        shuffled = sides[order]
        exceeded += int((-((shuffled @ distance) * shuffled).sum(1) >= observed).sum())
    return exceeded / (permutations + 1)


def to_uniforms(data: GaussianMixture, x: Tensor) -> Tensor:
    """(N, D) Rosenblatt's transform: uniform and independent if and only if x follows the mixture."""
    log_weight = data.weights.log().expand(len(x), -1)
    columns = []
    for value, mean in zip(x.T, data.means.T, strict=True):
        score = (value[:, None] - mean) / data.stds
        columns.append((log_weight.softmax(1) * torch.special.ndtr(score)).sum(1))
        log_weight = log_weight - 0.5 * score**2 - data.stds.log()
    return torch.stack(columns, dim=1)

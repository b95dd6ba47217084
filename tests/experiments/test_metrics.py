"""Distances between features against closed forms, brute force and planted faults."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from experiments.metrics import (
    EnergyDistance,
    FrechetDistance,
    KernelDistance,
    Memorisation,
    Metric,
    PrecisionRecall,
    SampleFeatures,
    base,
    energy_distance,
    frechet_distance,
    kernel_distance,
    memorisation,
    precision_recall,
)

PAIRS: list[Callable[[Tensor, Tensor], float]] = [frechet_distance, kernel_distance, energy_distance]
PLUGINS: list[Metric] = [FrechetDistance(), KernelDistance(), PrecisionRecall(), Memorisation(), EnergyDistance()]


def normal(rows: int, width: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=generator, dtype=torch.float64) * scale + shift


def whitened(rows: int, width: int, seed: int) -> Tensor:
    """Rows whose sample mean is 0 and whose sample covariance is the unit matrix, exactly."""
    x = normal(rows, width, seed)
    x = x - x.mean(dim=0)
    return x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / (rows - 1))).T


@settings(max_examples=25)
@given(
    width=st.integers(1, 6),
    scales=st.lists(st.floats(0.1, 10), min_size=12, max_size=12),
    shift=st.floats(-100, 100),
    seed=st.integers(0, 1000),
)
def test_frechet_of_two_known_gaussians(width: int, scales: list[float], shift: float, seed: int) -> None:
    first, second = torch.tensor(scales[:width]).double(), torch.tensor(scales[6 : 6 + width]).double()
    real = whitened(40, width, seed) * first + shift
    fake = whitened(30, width, seed + 1) * second + shift + 1
    expected = width + float(((first - second) ** 2).sum())
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-7)


def test_frechet_agrees_with_an_independent_formula() -> None:
    from scipy.linalg import sqrtm

    mix = normal(16, 16, 9)
    real, fake = normal(200, 16, 0) @ mix + 5, normal(150, 16, 1, scale=1.4) @ mix.T + 5.2
    first, second = np.cov(real.numpy().T), np.cov(fake.numpy().T)
    root = np.real(sqrtm(first @ second))
    gap = real.mean(0).numpy() - fake.mean(0).numpy()
    expected = gap @ gap + np.trace(first + second - 2 * root)
    assert frechet_distance(real, fake) == pytest.approx(float(expected), rel=1e-6)
    assert frechet_distance(fake, real) == pytest.approx(float(expected), rel=1e-6)


def test_frechet_survives_features_that_never_fire() -> None:
    real, fake = normal(50, 8, 0), normal(50, 8, 1)
    real[:, :3], fake[:, :3] = 0, 0
    assert frechet_distance(real, fake) == pytest.approx(frechet_distance(real[:, 3:], fake[:, 3:]), rel=1e-6)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-5)


def test_kernel_agrees_with_brute_force_and_with_torchmetrics() -> None:
    from torchmetrics.image.kid import KernelInceptionDistance

    real, fake = normal(30, 5, 0), normal(30, 5, 1, shift=0.3)

    def kernel(x: Tensor, y: Tensor) -> float:
        return (float(x @ y) / 5 + 1) ** 3

    pairs = [(i, j) for i in range(30) for j in range(30)]
    within = sum(kernel(s[i], s[j]) for s in (real, fake) for i, j in pairs if i != j) / (30 * 29)
    between = sum(kernel(real[i], fake[j]) for i, j in pairs) / 900
    assert kernel_distance(real, fake) == pytest.approx(within - 2 * between, rel=1e-10)
    with pytest.warns(UserWarning, match="save all extracted features"):
        theirs = KernelInceptionDistance(feature=torch.nn.Identity(), subsets=1, subset_size=30)
    theirs.update(real, real=True)
    theirs.update(fake, real=False)
    assert kernel_distance(real, fake) == pytest.approx(float(theirs.compute()[0]), rel=1e-10)


@pytest.mark.parametrize("metric", [kernel_distance, energy_distance])
def test_equal_distributions_are_at_distance_zero_in_the_mean(metric: Callable[[Tensor, Tensor], float]) -> None:
    """200 pairs of 20 and 30 rows: the mean is within 4 standard errors of 0, and not where one is scaled by 1.5."""

    def z_score(scale: float) -> float:
        values = [metric(normal(20, 4, 2 * i), normal(30, 4, 2 * i + 1, scale=scale)) for i in range(200)]
        array = np.array(values)
        return float(array.mean() / (array.std(ddof=1) / math.sqrt(len(array))))

    assert abs(z_score(1.0)) < 4
    assert z_score(1.5) > 4


def test_energy_agrees_with_brute_force() -> None:
    real, fake = normal(12, 2, 0), normal(9, 2, 1, shift=1)
    between = np.mean([float((x - y).norm()) for x in real for y in fake])
    within = [
        sum(float((s[i] - s[j]).norm()) for i in range(len(s)) for j in range(len(s))) / (len(s) * (len(s) - 1))
        for s in (real, fake)
    ]
    assert energy_distance(real, fake) == pytest.approx(float(2 * between - sum(within)), rel=1e-10)


def covered(points: np.ndarray, centres: np.ndarray, k: int) -> float:
    """Share of points in a ball about a centre, one loop after another."""
    radii = [
        sorted(float(np.linalg.norm(c - d)) for j, d in enumerate(centres) if j != i)[k - 1]
        for i, c in enumerate(centres)
    ]
    hits = [any(np.linalg.norm(p - c) <= r for c, r in zip(centres, radii, strict=True)) for p in points]
    return sum(hits) / len(points)


@settings(max_examples=20)
@given(real_rows=st.integers(5, 20), fake_rows=st.integers(5, 20), k=st.integers(1, 4), shift=st.floats(0, 3))
def test_precision_and_recall_agree_with_brute_force(real_rows: int, fake_rows: int, k: int, shift: float) -> None:
    real, fake = normal(real_rows, 2, real_rows), normal(fake_rows, 2, 100 + fake_rows, shift=shift)
    precision, recall = precision_recall(real, fake, k=k)
    assert precision == pytest.approx(covered(fake.numpy(), real.numpy(), k))
    assert recall == pytest.approx(covered(real.numpy(), fake.numpy(), k))


def test_precision_and_recall_at_the_ends() -> None:
    real = normal(60, 3, 0)
    assert precision_recall(real, real) == (1.0, 1.0)
    assert precision_recall(real, real + 1000) == (0.0, 0.0)
    one_mode = normal(60, 3, 1, scale=0.01)
    precision, recall = precision_recall(real, one_mode)
    assert precision == 1.0
    assert recall < 0.1


def test_the_border_of_a_ball_belongs_to_it() -> None:
    real, fake = torch.arange(4.0)[:, None], torch.tensor([[4.0], [4.5], [-1.0], [-9.0]])
    assert precision_recall(real, fake, k=1)[0] == 0.5


def test_copies_are_memorised_and_fresh_data_are_not() -> None:
    train, heldout, fresh = normal(800, 4, 0), normal(400, 4, 1), normal(3000, 4, 2)
    assert memorisation(train, heldout, train[:200]) == 1.0
    assert memorisation(train, heldout, fresh) < 0.03
    assert memorisation(train, heldout, fresh, percentile=50) == pytest.approx(0.5, abs=0.08)
    assert memorisation(train, heldout, fresh + 50) == 0.0
    half = torch.cat([train[:100], fresh[:100] + 50])
    assert memorisation(train, heldout, half) == 0.5


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    features = SampleFeatures(normal(41, 3, 0), normal(33, 3, 1), normal(37, 3, 2, shift=0.5))
    whole = [metric(features) for metric in PLUGINS]
    monkeypatch.setattr(base, "BLOCK", 10)
    for metric, expected in zip(PLUGINS, whole, strict=True):
        assert metric(features) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("metric", PLUGINS, ids=lambda metric: type(metric).__name__)
def test_plugins_name_their_columns_repeat_and_take_float32(metric: Metric) -> None:
    features = SampleFeatures(normal(41, 3, 0).float(), normal(33, 3, 1).float(), normal(37, 3, 2).float())
    state = torch.get_rng_state()
    values = metric(features)
    assert tuple(values) == metric.columns
    assert all(isinstance(value, float) and math.isfinite(value) for value in values.values())
    assert metric(features) == values
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("metric", PLUGINS, ids=lambda metric: type(metric).__name__)
def test_what_is_not_finite_is_nan_not_an_error(metric: Metric) -> None:
    fake = normal(37, 3, 2)
    fake[3, 1] = math.nan
    values = metric(SampleFeatures(normal(41, 3, 0), normal(33, 3, 1), fake))
    assert tuple(values) == metric.columns
    assert all(math.isnan(value) for value in values.values())


@pytest.mark.parametrize("metric", PAIRS)
def test_distances_tell_splits_apart(metric: Callable[[Tensor, Tensor], float]) -> None:
    train, heldout = normal(200, 3, 0), normal(100, 3, 1, shift=1)
    plugin = {frechet_distance: FrechetDistance(), kernel_distance: KernelDistance(), energy_distance: EnergyDistance()}
    values = plugin[metric](SampleFeatures(train, heldout, train + 1e-3))
    to_train, to_heldout = values.values()
    assert to_train == metric(train, train + 1e-3)
    assert to_heldout == metric(heldout, train + 1e-3)
    assert to_heldout > to_train + 0.1


def test_shapes_and_options_are_checked() -> None:
    x = normal(10, 3, 0)
    for bad in (normal(10, 4, 0), x[0], x[:1]):
        for metric in PAIRS:
            with pytest.raises(ValueError, match="at least 2 rows and one D"):
                metric(x, bad)
        with pytest.raises(ValueError, match="fake"):
            SampleFeatures(x, x, bad)
    with pytest.raises(ValueError, match="k is 10"):
        precision_recall(x, x, k=10)
    assert all(math.isnan(value) for value in PrecisionRecall(k=10)(SampleFeatures(x, x, x)).values())
    with pytest.raises(ValueError, match="k is 0"):
        PrecisionRecall(k=0)
    with pytest.raises(ValueError, match="percentile is 0"):
        Memorisation(percentile=0)
    with pytest.raises(ValueError, match="percentile is 100"):
        memorisation(x, x, x, percentile=100)
    with pytest.raises(ValueError, match="degree is 0"):
        KernelDistance(degree=0)
    with pytest.raises(ValueError, match="coef is -1"):
        kernel_distance(x, x, coef=-1)

"""Power profiles against quadrature, and reconstruction against what it must give back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.training.power import WIDEST, coefficients, discrepancy, exponent, products, width

WIDTHS = st.floats(0.02, 0.28)
STEPS = st.integers(1, 4000)


def profile(gamma: float, step: float, at: np.ndarray) -> np.ndarray:
    """p(τ) = (γ+1) τ^γ / t^{γ+1} for τ ≤ t, else 0."""
    return np.where(at <= step, (gamma + 1) / step * (at / step) ** gamma, 0.0)


def quadrature(values: np.ndarray, nodes: np.ndarray) -> float:
    return float(((values[1:] + values[:-1]) / 2 * np.diff(nodes)).sum())


@given(WIDTHS)
def test_exponents_and_widths_are_inverse(sigma_rel: float) -> None:
    assert width(exponent(sigma_rel)) == pytest.approx(sigma_rel, rel=1e-9)


@pytest.mark.parametrize(
    ("sigma_rel", "gamma"), [(0.05, 16.97), (0.10, 6.94), (0.15, 3.56), (0.20, 1.83), (0.25, 0.72)]
)
def test_the_papers_exponents(sigma_rel: float, gamma: float) -> None:
    assert exponent(sigma_rel) == pytest.approx(gamma, abs=5e-3)


@given(st.floats(0, 60))
def test_a_width_is_the_profiles_standard_deviation(gamma: float) -> None:
    at = np.linspace(0, 1, 20_001)
    p = profile(gamma, 1.0, at)
    mean = quadrature(p * at, at)
    spread = np.sqrt(quadrature(p * (at - mean) ** 2, at))
    assert width(gamma) == pytest.approx(spread, rel=1e-3)


@given(st.floats(0, 20), STEPS, st.floats(0, 20), STEPS)
def test_products_are_integrals_of_two_profiles(a: float, t_a: int, b: float, t_b: int) -> None:
    at = np.linspace(0, min(t_a, t_b), 20_001)
    expected = quadrature(profile(a, t_a, at) * profile(b, t_b, at), at)
    found = products(np.array([a]), np.array([float(t_a)]), np.array([b]), np.array([float(t_b)]))
    assert found.item() == pytest.approx(expected, rel=1e-3, abs=1e-12)


SNAPSHOTS = st.lists(
    st.tuples(st.sampled_from([0.05, 0.10, 0.20]), st.integers(1, 40).map(lambda n: 100 * n)),
    min_size=1, max_size=24, unique=True,
)  # fmt: skip


@given(SNAPSHOTS)
def test_the_products_of_different_profiles_are_symmetric_and_positive_definite(
    snapshots: list[tuple[float, int]],
) -> None:
    gammas, steps = np.array([exponent(one) for one, _ in snapshots]), np.array([float(step) for _, step in snapshots])
    gram = products(gammas, steps, gammas, steps)
    np.testing.assert_allclose(gram, gram.T, rtol=1e-12)
    scale = 1 / np.sqrt(np.diag(gram))
    assert np.linalg.eigvalsh(gram * np.outer(scale, scale)).min() > 0


@given(SNAPSHOTS, st.data())
def test_a_profile_that_was_kept_comes_back_as_itself(snapshots: list[tuple[float, int]], data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(snapshots) - 1))
    widths, steps = zip(*snapshots, strict=True)
    x = coefficients(widths, steps, *snapshots[which])
    np.testing.assert_allclose(x, np.eye(len(snapshots))[which], atol=1e-6)
    assert discrepancy(widths, steps, *snapshots[which]) < 1e-5


@given(SNAPSHOTS, WIDTHS, STEPS)
def test_the_coefficients_add_up_to_one(snapshots: list[tuple[float, int]], sigma_rel: float, step: int) -> None:
    widths, steps = zip(*snapshots, strict=True)
    assert coefficients(widths, steps, sigma_rel, step).sum() == pytest.approx(1, abs=1e-9)


def test_two_profiles_and_many_snapshots_meet_others_closely_and_one_snapshot_does_not() -> None:
    steps = [100 * n for n in range(1, 33)]
    widths = [0.05] * 32 + [0.10] * 32
    for sigma_rel in (0.03, 0.07, 0.12, 0.2):
        assert discrepancy(widths, steps * 2, sigma_rel, 3200) < (0.15 if sigma_rel < 0.05 else 0.01)
    assert discrepancy([0.05], [3200], 0.2, 3200) > 0.5


@pytest.mark.parametrize("wrong", [0.0, -0.1, WIDEST + 1e-3])
def test_a_width_out_of_range_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="sigma_rel"):
        exponent(wrong)


def test_snapshots_without_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="one of each"):
        coefficients([0.05], [], 0.1, 1)

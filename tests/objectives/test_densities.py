"""Densities: the kit over the wrapped and tabulated ones, SD3's equivalences, what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from objectives import FlowMatching, formulation
from objectives.conformance import DensityConformance
from objectives.densities import Beta, CosMap, LogitNormal, Mixture, Mode, Shifted, TanNormal, TimeDensity, Uniform

U = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
parameters = st.floats(0.2, 20)


class TestShifted(DensityConformance):
    def densities(self):
        return st.builds(Shifted, st.floats(0.2, 5), st.sampled_from((LogitNormal(), Uniform(), CosMap(), Mode(1.0))))


class TestTanNormal(DensityConformance):
    def densities(self):
        return st.builds(TanNormal, st.floats(-2, 2), st.floats(0.1, 3))


class TestBeta(DensityConformance):
    def densities(self):
        return st.builds(Beta, parameters, parameters)


class TestMixture(DensityConformance):
    def densities(self):
        narrow = LogitNormal(-1, 0.05)
        parts = st.sampled_from((LogitNormal(0.5, 0.6), narrow, Uniform(), CosMap(), Mode(1.29), Beta(0.5, 3)))
        return st.builds(Mixture, parts, parts, st.floats(0.01, 0.99))


@given(parameters, parameters)
@example(1.03125, 0.25)  # whose quantiles of 1e-17 SciPy does not find
def test_beta_is_scipys(alpha, beta):
    density, law = Beta(alpha, beta), stats.beta(alpha, beta)
    t = torch.from_numpy(law.ppf(U.numpy()))
    inner = (t > 1e-9) & (t < 1 - 1e-9)
    torch.testing.assert_close(density.quantile(U)[inner], t[inner], rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(density.cdf(t)[inner], U[inner], rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(density.pdf(t)[inner], torch.from_numpy(law.pdf(t.numpy()))[inner], rtol=1e-8, atol=0)


@pytest.mark.parametrize(("alpha", "beta"), [(2, 3), (1, 2)])
def test_betas_lower_tail_is_scipys_beyond_the_table(alpha, beta):
    density, law = Beta(alpha, beta), stats.beta(alpha, beta)
    u = torch.logspace(-24, -12, 13, dtype=torch.float64)
    t = torch.from_numpy(law.ppf(u.numpy()))
    torch.testing.assert_close(density.quantile(u), t, rtol=1e-5, atol=0)
    torch.testing.assert_close(density.cdf(t), u, rtol=1e-4, atol=0)


@pytest.mark.parametrize("density", [Beta(0.2, 0.2), Beta(30, 2), Mixture(), Mixture(Mode(-1), LogitNormal(9, 0.01))])
def test_quantiles_in_float32_are_float64s_rounded(density):
    u = torch.tensor([2.0**-24, 1e-3, 0.3, 0.7, 1 - 2.0**-10])
    found = density.quantile(u)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, density.quantile(u.double()).float(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("density", [Beta(0.2, 0.2), Beta(90, 60), Mixture(Beta(90, 60), Mode(-1))])
def test_densities_in_float32_are_float64s_rounded(density):
    t = torch.tensor([1e-30, 0.001, 0.3, 0.6, 0.61, 0.999])
    for function in (density.pdf, density.cdf):
        assert function(t).dtype == torch.float32
        torch.testing.assert_close(function(t), function(t.double()).float(), rtol=3e-7, atol=1e-36)


@given(st.floats(-2, 2), st.floats(0.1, 2), st.floats(0.1, 10))
def test_a_shifted_logit_normal_is_a_logit_normal(m, s, alpha):
    shifted, moved = Shifted(alpha, LogitNormal(m, s)), LogitNormal(m + math.log(alpha), s)
    torch.testing.assert_close(shifted.quantile(U), moved.quantile(U), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(shifted.pdf(U), moved.pdf(U), rtol=1e-7, atol=1e-9)


@given(st.floats(0.1, 10))
def test_shifting_is_sd3s_time_at_another_resolution(alpha):
    """t_m = α·t_n/(1 + (α − 1)·t_n) (SD3, eq. 23)."""
    torch.testing.assert_close(Shifted(alpha, Uniform()).quantile(U), alpha * U / (1 + (alpha - 1) * U))


@given(st.floats(-1.5, 1.5), st.floats(0.3, 1.5))
def test_lognorm_on_the_straight_path_and_edm_have_one_log_snr_law(m, s):
    straight, edm = formulation(f"rf/lognorm({m!r},{s!r})"), formulation(f"edm({m!r},{s!r})")
    ours = straight.path.log_snr(straight.time.quantile(U))
    normal = -2 * m + 2 * s * torch.special.ndtri(1 - U)
    torch.testing.assert_close(ours, normal, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(edm.path.log_snr(edm.time.quantile(U)), ours)


def test_edm_rf_and_edm_cos_have_the_log_snr_laws_of_rf_and_cosine():
    for name, other in (("edm/rf", "rf"), ("edm/cos", "v/cos")):
        ours, theirs = formulation(name), formulation(other)
        torch.testing.assert_close(
            ours.path.log_snr(ours.time.quantile(U)), theirs.path.log_snr(theirs.time.quantile(U)), rtol=1e-8, atol=1e-8
        )


def test_one_time_in_ten_of_the_default_mixture_is_uniform():
    density, t = Mixture(), torch.tensor([0.001, 0.5], dtype=torch.float64)
    torch.testing.assert_close(density.pdf(t), 0.9 * LogitNormal().pdf(t) + 0.1)
    assert abs(float(density.cdf(t[:1])) - 1e-4) < 1e-9
    assert float(LogitNormal().cdf(t[:1])) < 1e-11


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shifted(0.0), "alpha"),
        (lambda: Shifted(math.nan), "alpha"),
        (lambda: Shifted(-3.0), "alpha"),
        (lambda: Beta(0.1, 1), "alpha"),
        (lambda: Beta(1, 101), "beta"),
        (lambda: Beta(math.nan, 1), "alpha"),
        (lambda: Mixture(share=0.0), "share"),
        (lambda: Mixture(share=1.0), "share"),
    ],
)
def test_parameters_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class _Point(TimeDensity):
    def quantile(self, u):
        return torch.full_like(u, 0.5)

    def pdf(self, t):
        return t


class _Falling(TimeDensity):
    def quantile(self, u):
        return 1 - u

    def pdf(self, t):
        return torch.ones_like(t)


@pytest.mark.parametrize("density", [_Point(), _Falling()])
def test_a_degenerate_density_is_refused(density):
    with pytest.raises(ValueError, match="no density on"):
        FlowMatching(time=density)


def test_a_shift_out_of_the_paths_reach_is_refused():
    with pytest.raises(ValueError, match="of its mass below t"):
        FlowMatching(path=formulation("edm/rf").path, time=Shifted(1000.0, LogitNormal(2.0, 0.1)))

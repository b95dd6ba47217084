"""Paths: the kit over the variance-preserving ones, and the discrete schedule that LDM-linear continues."""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st

from objectives.conformance import PathConformance
from objectives.paths import DDPM, Cosine, LDMLinear, Trig

T = torch.linspace(0.001, 1, 500, dtype=torch.float64)


class TestCosine(PathConformance):
    def paths(self):
        return st.builds(Cosine, st.floats(0.9, 1.0))


class TestLDMLinear(PathConformance):
    def paths(self):
        return st.builds(LDMLinear, st.floats(1e-4, 1e-3), st.floats(0.012, 0.02), st.integers(1000, 2000))


class TestDDPM(PathConformance):
    def paths(self):
        schedules = st.sampled_from(["linear", "scaled_linear"])
        return st.builds(DDPM, schedules, st.floats(1e-4, 1e-3), st.floats(0.015, 0.02), st.integers(1000, 1200))


@pytest.mark.parametrize("power", [1, 2])
def test_ddpm_is_the_discrete_schedule_at_its_steps(power):
    schedule = {1: "linear", 2: "scaled_linear"}[power]
    beta = torch.linspace(0.001 ** (1 / power), 0.3 ** (1 / power), 40, dtype=torch.float64) ** power
    path = DDPM(schedule, 0.001, 0.3, 40)
    t = torch.arange(1, 41, dtype=torch.float64) / 40
    torch.testing.assert_close(path.a(t) ** 2, (1 - beta).cumprod(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(path.a(t.float()), path.a(t).float(), rtol=1e-5, atol=0)
    torch.testing.assert_close(path.time(path.clock(t)), t, rtol=1e-10, atol=0)
    between = t - 0.5 / 40
    torch.testing.assert_close(path.a(between) ** 2, path.a(t) * path.a(t - 1 / 40), rtol=1e-12, atol=0)


def test_ldm_linear_is_the_limit_of_the_scaled_schedule():
    limit, path = LDMLinear(), DDPM("scaled_linear", 0.00085, 0.012)
    torch.testing.assert_close(path.a(T), limit.a(T), rtol=1e-3, atol=0)


@pytest.mark.parametrize(("given", "told"), [(("cosine",), "schedule linear or scaled_linear, got 'cosine'"),
    (("linear", 0.1, 0.01), "beta_start=0.1, beta_end=0.01"), (("linear", 0.1, 1.0), "beta_end=1.0"),
    (("linear", 0.1, 0.2, 0), "at least 1 step, got 0")])  # fmt: skip
def test_ddpm_refuses_what_is_out_of_range(given, told):
    with pytest.raises(ValueError, match=told):
        DDPM(*given)


class TestTrig(PathConformance):
    def paths(self):
        return st.builds(Trig, st.floats(0.1, 2), st.floats(5, 100))


def test_trig_is_the_exploding_path_as_an_angle():
    path = Trig(0.5, 80.0)
    t = T * path.t_max
    torch.testing.assert_close(path.b(t) / path.a(t), 0.5 * torch.tan(0.5 * torch.pi * t))
    torch.testing.assert_close((path.a(t) * 0.5) ** 2 + path.b(t) ** 2, torch.full_like(t, 0.25))
    assert float(path.b(t[-1]) / path.a(t[-1])) == pytest.approx(80)


@pytest.mark.parametrize(("sigma_data", "sigma_max"), [(0.0, 80.0), (0.5, 0.4), (0.5, 1e5)])
def test_trig_refuses_what_is_out_of_range(sigma_data, sigma_max):
    with pytest.raises(ValueError, match="trig takes"):
        Trig(sigma_data, sigma_max)


@pytest.mark.parametrize("path", [Cosine(), LDMLinear(), LDMLinear(0.0001, 0.5, 10), DDPM()])
def test_variance_is_preserved(path):
    torch.testing.assert_close(path.a(T) ** 2 + path.b(T) ** 2, torch.ones_like(T))


def test_ldm_linear_ends_where_the_discrete_schedule_ends_and_meets_it_between():
    beta = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    discrete, path = (1 - beta).cumprod(0).sqrt(), LDMLinear()
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    torch.testing.assert_close(path.a(t), discrete, rtol=1e-3, atol=0)
    assert abs(float(path.a(t[-1:])) - 0.0683) < 5e-5
    assert path.t_max == 1
    assert float(path.grid(4)[0]) == 1


def test_ldm_linear_is_the_integral_of_its_rate():
    path = LDMLinear(0.001, 0.3, 40)
    s = torch.linspace(0, 0.7, 200_001, dtype=torch.float64)
    root = 0.001**0.5 + s * (0.3**0.5 - 0.001**0.5)
    integral = torch.trapezoid(torch.log1p(-(root**2)), s)
    torch.testing.assert_close(2 * path.a(s[-1:]).log()[0], 40 * integral, rtol=1e-9, atol=0)


@pytest.mark.parametrize("path", [LDMLinear(), LDMLinear(0.0001, 0.9, 10)])
def test_ldm_linear_is_exact_down_to_the_smallest_times(path):
    t = torch.tensor([0.0, 1e-300, 1e-12, 1e-6, 0.3, 1.0], dtype=torch.float64)
    torch.testing.assert_close(path.time(path.clock(t)), t, rtol=1e-10, atol=0)
    torch.testing.assert_close(path.b(t[2:3]), (1e-12 * path.steps * path.beta_start) ** 0.5 * torch.ones(1).double(),
                               rtol=1e-3, atol=0)  # fmt: skip
    narrow = t[2:].float()
    for coefficient in (path.a, path.b, path.da, path.db, path.log_snr, path.clock):
        assert coefficient(narrow).dtype == torch.float32
        torch.testing.assert_close(coefficient(narrow), coefficient(narrow.double()).float(), rtol=1e-6, atol=0)


def test_cosine_is_the_cosine():
    path = Cosine()
    torch.testing.assert_close(path.a(T), torch.cos(torch.pi / 2 * T), rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(path.log_snr(T[:-1]), -2 * torch.log(torch.tan(torch.pi / 2 * T[:-1])))
    assert float(path.a(torch.ones(1))) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cosine(1.01), "t_max"),
        (lambda: Cosine(0.4), "t_max"),
        (lambda: LDMLinear(0.0), "beta_start"),
        (lambda: LDMLinear(0.02, 0.01), "beta_start"),
        (lambda: LDMLinear(0.01, 1.0), "beta_end"),
        (lambda: LDMLinear(steps=0), "at least 1 step"),
    ],
)
def test_parameters_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()

"""Time grids: the kit over each of them, their formulas, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from objectives import FlowMatching, Shortcut, formulation, sample
from objectives.conformance import TimeGridConformance
from objectives.conformance.common import EXACT, close, draws, mixture
from objectives.densities import LogitNormal, Mode, Uniform
from objectives.log_snr import time_of_log_snr
from objectives.paths import Cosine, LDMLinear, Straight, VarianceExploding
from objectives.time_grids import KarrasGrid, QuantileGrid, ShiftedGrid, UniformGrid

PATHS = (Straight(), Cosine(), Cosine(t_max=1.0), LDMLinear(), VarianceExploding())
NOISE = draws(8).normal("noise", (8, 2), torch.float64)


class _Kit(TimeGridConformance):
    def objectives(self):
        return st.sampled_from([*(FlowMatching(path=path) for path in PATHS), formulation("edm/rf")])


class TestUniformGrid(_Kit):
    def grids(self):
        return st.just(UniformGrid())


class TestKarrasGrid(_Kit):
    def grids(self):
        return st.builds(KarrasGrid, st.floats(1, 20), st.floats(1e-4, 0.1), st.floats(1, 200))


class TestShiftedGrid(_Kit):
    def grids(self):
        return st.builds(ShiftedGrid, st.floats(0.1, 10))


class TestQuantileGrid(_Kit):
    def grids(self):
        densities = st.one_of(st.just(Uniform()), st.builds(LogitNormal, st.floats(-1, 1), st.floats(0.3, 2)))
        return st.builds(QuantileGrid, densities | st.builds(Mode, st.floats(-1, 1.7)))


@EXACT
@given(st.sampled_from(PATHS), st.floats(0.001, 0.999))
def test_the_log_snr_is_inverted(path, share):
    t = torch.tensor([share * path.t_max], dtype=torch.float64)
    close(time_of_log_snr(path, path.log_snr(t)), t, 1e-7)


@pytest.mark.parametrize("steps", [1, 2, 3, 18])
def test_karras_is_the_exploding_paths_own_grid(steps):
    path = VarianceExploding(sigma_min=0.01, sigma_max=50.0, rho=5.0)
    grid = KarrasGrid(rho=5.0, sigma_min=0.01, sigma_max=80.0)
    close(grid.times(FlowMatching(path=path), steps), path.grid(steps), 1e-12)


def test_karras_on_the_straight_path_is_in_the_noise_to_signal_ratio():
    times = KarrasGrid().times(FlowMatching(), 5)
    ratio = times[1:-1] / (1 - times[1:-1])
    ends = 80 ** (1 / 7), 0.002 ** (1 / 7)
    close(ratio, torch.tensor([(ends[0] + i / 4 * (ends[1] - ends[0])) ** 7 for i in range(1, 5)]).double(), 1e-6)


@EXACT
@given(st.floats(0.1, 10), st.integers(2, 30))
def test_shifted_is_sd3s_formula_on_the_straight_path(alpha, steps):
    t = UniformGrid().times(FlowMatching(), steps)
    close(ShiftedGrid(alpha).times(FlowMatching(), steps), alpha * t / (1 + (alpha - 1) * t), 1e-9)


def test_shifting_lowers_the_log_snr_on_any_path_from_pure_noise():
    objective = FlowMatching(path=Cosine(t_max=1.0))
    moved, even = (grid.times(objective, 6)[1:-1] for grid in (ShiftedGrid(3.0), UniformGrid()))
    close(objective.path.log_snr(moved), objective.path.log_snr(even) - 2 * math.log(3), 1e-7)


@EXACT
@given(st.builds(LogitNormal, st.floats(-1, 1), st.floats(0.3, 2)), st.sampled_from(PATHS), st.integers(2, 20))
def test_equal_mass_lies_between_quantiles(density, path, steps):
    times = QuantileGrid(density).times(FlowMatching(path=path), steps)
    mass = density.cdf(times[1:-1]) / density.cdf(torch.tensor(path.t_max, dtype=torch.float64))
    close(mass, 1 - torch.arange(1, steps).double() / steps, 1e-7)


@pytest.mark.parametrize("grid", ["karras", "Quantiles", ShiftedGrid(2.0), None])
def test_sampling_visits_the_grid(grid):
    seen, network = [], mixture().network(FlowMatching())
    sample(FlowMatching(), network, NOISE, None, steps=5, grid=grid, on_step=lambda done, t, z: seen.append(t))
    expected = {"karras": KarrasGrid(), "Quantiles": QuantileGrid(), None: UniformGrid()}.get(grid, grid)
    assert seen == expected.times(FlowMatching(), 5).tolist()[1:]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: KarrasGrid(rho=0.5), "rho"),
        (lambda: KarrasGrid(sigma_min=3.0, sigma_max=2.0), "sigma_min"),
        (lambda: KarrasGrid(sigma_min=20.0).check(FlowMatching(path=LDMLinear())), "starts below"),
        (lambda: ShiftedGrid(0.0), "alpha"),
        (lambda: ShiftedGrid().check(FlowMatching(path=VarianceExploding())), "pure noise"),
        (lambda: ShiftedGrid().check(FlowMatching(path=LDMLinear())), r"where a = 0\.068"),
        (lambda: UniformGrid().check(Shortcut()), "times of its own"),
        (lambda: QuantileGrid(LogitNormal(10.0, 0.001)).check(FlowMatching(path=VarianceExploding())), "no mass"),
        (lambda: QuantileGrid(LogitNormal(10.0, 10.0)).times(FlowMatching(), 10**4), "distinct"),
        (lambda: sample(FlowMatching(), None, NOISE, None, steps=2, grid="kerras"), "no time grid is called 'kerras'"),
        (lambda: sample(Shortcut(), None, NOISE, None, steps=2, grid="karras"), "times of its own"),
    ],
)
def test_what_does_not_fit_is_refused(make, told):
    with pytest.raises(ValueError, match=told):
        make()

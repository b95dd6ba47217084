"""Ranges of parameters: their ends are inside or outside as documented, and what lies just beyond is refused."""

from __future__ import annotations

import math

import pytest
import torch

from objectives import (
    ConsistencyDistillation,
    Draws,
    FlowMatching,
    Guidance,
    LiveReflow,
    ProgressiveDistillation,
    Reflow,
    Shortcut,
    formulation,
    sample,
)
from objectives.couplings import ClassAwareOT, MinibatchOT
from objectives.densities import Beta, LogitNormal, Mixture, Mode, Shifted, TimeDensity
from objectives.heads import EDMPreconditioned
from objectives.likelihood import bits_per_dimension
from objectives.oracle import GaussianMixture
from objectives.paths import DDPM, Cosine, LDMLinear, VarianceExploding
from objectives.solvers import Dopri5, EDMStochastic, EulerMaruyama
from objectives.time_grids import KarrasGrid, ShiftedGrid
from objectives.weightings import Denoising, DensityWeight, LearnedUncertainty, MinSNR

INF, NAN = math.inf, math.nan
TINY = 5e-324
ROWS = torch.arange(4)
# What makes something of a number, numbers that are allowed, and numbers that are not.
RANGES = {
    "beta's alpha": (lambda v: Beta(v, 1), (0.2, 100), (0.199, 100.1, NAN)),
    "beta's beta": (lambda v: Beta(1, v), (0.2, 100), (0.199, 100.1, NAN)),
    "lognorm's m": (lambda v: LogitNormal(v, 1), (-10, 10), (-10.1, 10.1, NAN)),
    "lognorm's s": (lambda v: LogitNormal(0, v), (0.001, 10), (0.0009, 10.1, NAN)),
    "mode's s": (Mode, (-1, 2 / (math.pi - 2)), (-1.001, 1.752, NAN)),
    "mixture's share": (lambda v: Mixture(share=v), (0.001, 0.999), (0.0009, 0.9991, NAN)),
    "shifted's alpha": (Shifted, (0.001, 1000), (0.0009, 1000.5, NAN)),
    "cosine's t_max": (Cosine, (0.5, 1), (0.499, 1.001, NAN)),
    "ldm_linear's beta_start": (lambda v: LDMLinear(v, 0.5), (TINY, 0.499), (0, 0.5, NAN)),
    "ldm_linear's beta_end": (lambda v: LDMLinear(0.1, v), (0.1001, 0.9999), (0.1, 1, NAN)),
    "ddpm's beta_start": (lambda v: DDPM(beta_start=v, beta_end=0.5), (TINY, 0.5), (0, 0.501, NAN)),
    "ddpm's beta_end": (lambda v: DDPM(beta_start=0.1, beta_end=v), (0.1, 0.9999), (0.099, 1, NAN)),
    "ddpm's steps": (lambda v: DDPM(steps=v), (1, 10**6), (0, -1)),
    "ldm_linear's steps": (lambda v: LDMLinear(steps=v), (1, 10**6), (0, -1)),
    "variance_exploding's sigma_min": (lambda v: VarianceExploding(v), (TINY, 79.9), (0, 80, NAN)),
    "variance_exploding's sigma_max": (lambda v: VarianceExploding(0.1, v), (0.2, 9999.9), (0.1, 1e4, NAN)),
    "variance_exploding's rho": (lambda v: VarianceExploding(rho=v), (1, 1e3), (0.99, INF, NAN)),
    "edm's sigma_data": (EDMPreconditioned, (TINY, 1e300), (0, -1, INF, NAN)),
    "min_snr's gamma": (MinSNR, (TINY, 1e300), (0, -1, INF, NAN)),
    "denoising's sigma_data": (Denoising, (TINY, 1e300), (0, -1, INF, NAN)),
    "learned's features": (lambda v: LearnedUncertainty(features=v), (2, 3), (1, 0)),
    "karras' rho": (KarrasGrid, (1, 1e3), (0.99, INF, NAN)),
    "karras' sigma_min": (lambda v: KarrasGrid(7, v), (TINY, 79.9), (0, 80, NAN)),
    "karras' sigma_max": (lambda v: KarrasGrid(7, 0.1, v), (0.2, 1e300), (0.1, INF, NAN)),
    "the shifted grid's alpha": (ShiftedGrid, (TINY, 1e300), (0, INF, NAN)),
    "minibatch_ot's group": (MinibatchOT, (2, 4096), (1, 4097)),
    "class_aware_ot's group": (ClassAwareOT, (2, 4096), (1, 4097)),
    "dopri5's rtol": (lambda v: Dopri5(v, 0.5), (TINY, 0.999), (0, 1, NAN)),
    "dopri5's atol": (lambda v: Dopri5(0.5, v), (TINY, 0.999), (0, 1, NAN)),
    "dopri5's sigma_min": (lambda v: Dopri5(sigma_min=v), (TINY, 0.1), (0, 0.101, NAN)),
    "edm_stochastic's churn": (EDMStochastic, (0, 1e300), (-0.1, INF, NAN)),
    "edm_stochastic's s_min": (lambda v: EDMStochastic(40, v), (0, 50), (-0.1, 50.1, NAN)),
    "edm_stochastic's s_noise": (lambda v: EDMStochastic(s_noise=v), (TINY, 1e300), (0, INF, NAN)),
    "euler_maruyama's scale": (lambda v: EulerMaruyama(scale=v), (0, 1e300), (-0.1, INF, NAN)),
    "guidance's scale": (Guidance, (-2, 0, 1e300), (INF, -INF, NAN)),
    "guidance's lowest": (lambda v: Guidance(2, (v, 0.5)), (0, 0.5), (-0.1, 0.51, NAN)),
    "guidance's highest": (lambda v: Guidance(2, (0.5, v)), (0.5, 1), (0.49, 1.01, NAN)),
    "guidance's rescale": (lambda v: Guidance(2, rescale=v), (0, 1), (-0.1, 1.01, NAN)),
    "guidance's channels": (lambda v: Guidance(2, channels=v), (1, 10**6), (0, -1)),
    "condition_drop": (lambda v: FlowMatching(condition_drop=v), (0, 1), (-0.1, 1.01, NAN)),
    "shortcut's M": (lambda v: Shortcut(M=v, bias=0), (2, 2**16), (1, 3, 2**17)),
    "shortcut's k": (lambda v: Shortcut(k=v), (0.5, 0.01), (0, 0.51, 1, NAN)),
    "shortcut's bias": (lambda v: Shortcut(bias=v), (0, 1), (-0.1, 1.1, NAN)),
    "progressive_distillation's M": (lambda v: ProgressiveDistillation(M=v), (2, 2**16), (1, 3, 2**17)),
    "progressive_distillation's w": (lambda v: ProgressiveDistillation(guidance=v), (-2, 0, 1e300), (INF, NAN)),
    "consistency_distillation's M": (lambda v: ConsistencyDistillation(M=v), (2, 3, 2**16), (1, 2**16 + 1)),
    "consistency_distillation's w": (lambda v: ConsistencyDistillation(guidance=v), (-2, 0, 1e300), (INF, NAN)),
    "live_reflow's k": (lambda v: LiveReflow(k=v), (0.5, 1 / 64), (0, 0.51, 1, 1 / 65, NAN)),
    "live_reflow's steps": (lambda v: LiveReflow(steps=v), (1, 2**16), (0, 2**16 + 1)),
    "live_reflow's M": (lambda v: LiveReflow(M=v), (2, 2**16), (1, 2**16 + 1)),
    "live_reflow's w": (lambda v: LiveReflow(guidance=v), (-2, 0, 1e300), (INF, NAN)),
    "a draw's step": (lambda v: Draws(0, v, ROWS), (0, 2**32 - 1), (-1, 2**32)),
    "the dimensions of bits": (lambda v: bits_per_dimension(torch.zeros(1), v), (1, 10**6), (0, -1)),
    "the width of bits": (lambda v: bits_per_dimension(torch.zeros(1), 2, bin_width=v), (TINY, 1e300), (0, INF, NAN)),
}


@pytest.mark.parametrize("parameter", RANGES)
def test_a_range_holds_its_ends_and_nothing_beyond(parameter):
    make, allowed, refused = RANGES[parameter]
    for value in allowed:
        make(value)
    for value in refused:
        with pytest.raises(ValueError, match=r"got|must be"):
            make(value)


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        (0, r"^the number of steps must be a whole number of at least 1, got 0$"),
        (True, r"^the number of steps must be a whole number of at least 1, got True$"),
    ],
)
def test_a_wrong_number_of_steps_is_told_with_what_is_allowed(steps, told):
    with pytest.raises(ValueError, match=told):
        sample(FlowMatching(), lambda z, t, c: z, torch.zeros(1, 2), None, steps=steps)


@pytest.mark.parametrize(
    ("means", "stds", "weights", "told"),
    [
        (torch.zeros(2), torch.ones(2), None, r"means \(K, D\)"),
        (torch.zeros(2, 3, 1), torch.ones(2), None, r"means \(K, D\)"),
        (torch.zeros(2, 3), torch.ones(3), torch.ones(3), "stds"),
        (torch.zeros(2, 3), torch.ones(2), torch.ones(3), "weights"),
        (torch.zeros(2, 3), torch.tensor([1.0, 0.0]), None, "positive"),
        (torch.zeros(2, 3), torch.ones(2), torch.tensor([1.0, 0.0]), "positive"),
        (torch.zeros(2, 3), torch.tensor([-1.0, 1.0]), torch.tensor([-1.0, 1.0]), "positive"),
    ],
)
def test_a_wrong_mixture_is_refused(means, stds, weights, told):
    with pytest.raises(ValueError, match=told):
        GaussianMixture(means, stds, weights)


class _Doubled(TimeDensity):
    def quantile(self, u):
        return 2 * u

    def pdf(self, t):
        return torch.full_like(t, 0.5)


class _Below(_Doubled):
    def quantile(self, u):
        return u - 0.5


@pytest.mark.parametrize("density", [_Doubled(), _Below()])
def test_a_density_that_leaves_the_unit_interval_is_refused(density):
    with pytest.raises(ValueError, match="no density on"):
        FlowMatching(time=density)


def test_draws_want_a_row_of_whole_numbers_and_whole_groups():
    for index in (torch.zeros(2, 2, dtype=torch.int64), torch.zeros(4), torch.zeros(4, dtype=torch.int32)):
        with pytest.raises(ValueError, match=r"\(B,\) int64"):
            Draws(0, 0, index)
    with pytest.raises(ValueError, match="whole groups of 2"):
        Draws(0, 0, torch.arange(1, 5)).cycle("c", 7, every=2)
    assert len(Draws(0, 0, torch.arange(1, 5)).cycle("c", 7)) == 4


@pytest.mark.parametrize(
    "make",
    [
        lambda: formulation("eps/linear"),
        lambda: FlowMatching(time=Beta(3, 3)),
        lambda: FlowMatching(time=Mixture(share=0.3)),
        lambda: FlowMatching(weighting=DensityWeight()),
        Shortcut,
        ConsistencyDistillation,
        ProgressiveDistillation,
        Reflow,
        LiveReflow,
    ],
)
def test_objectives_are_built_under_any_default_device(make):
    with torch.device("meta"):
        make()

"""Weightings: the kit, the papers' factors, SD3's equivalences of weights and densities, the learned one."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from objectives import FixedDraws, FlowMatching, Shortcut, formulation
from objectives.conformance import ObjectiveConformance, WeightingConformance
from objectives.conformance.common import close, draws
from objectives.densities import Beta, CosMap, LogitNormal, Mixture, Mode, Uniform
from objectives.heads import Data, EDMPreconditioned, Epsilon, Velocity, VPrediction
from objectives.paths import Cosine, LDMLinear, Straight, VarianceExploding
from objectives.weightings import Denoising, DensityWeight, LearnedUncertainty, MinSNR, Unweighted

T = torch.linspace(0.02, 0.97, 60, dtype=torch.float64)
LAMBDA = torch.linspace(-8, 8, 81, dtype=torch.float64)
PRODUCTS = [
    (path, head)
    for path in (Straight(), Cosine(), LDMLinear(), VarianceExploding())
    for head in (Velocity(), Epsilon(), VPrediction(), Data(), EDMPreconditioned())
    if not (isinstance(head, Epsilon) and path == Straight())
    and not (isinstance(head, EDMPreconditioned) and path != VarianceExploding())
]


def _trained() -> LearnedUncertainty:
    learned = LearnedUncertainty(features=16)
    learned.coefficients.data = torch.linspace(-1, 2, 16)
    return learned


class _Kit(WeightingConformance):
    def flows(self):
        names = ("rf/lognorm(0.00,1.00)", "eps/linear", "v/cos", "eps/cos", "edm(-1.20,1.20)")
        return st.sampled_from([formulation(name) for name in names])


class TestUnweighted(_Kit):
    def weightings(self):
        return st.just(Unweighted())


class TestMinSNR(_Kit):
    def weightings(self):
        return st.builds(MinSNR, st.floats(0.1, 20))


class TestDenoising(_Kit):
    def weightings(self):
        return st.builds(Denoising, st.floats(0.1, 2))


class TestDensityWeight(_Kit):
    def weightings(self):
        return st.builds(DensityWeight, st.builds(LogitNormal, st.floats(-1, 1), st.floats(0.2, 2)))


class TestLearnedUncertainty(_Kit):
    def weightings(self):
        return st.sampled_from((LearnedUncertainty(), _trained()))


class TestWeightedFlows(ObjectiveConformance):
    rows = 8_192

    def objectives(self):
        flows = [FlowMatching(weighting=MinSNR()), formulation("v/cos"), formulation("eps/cos")]
        more = [FlowMatching(path=Cosine(), head=Data(), weighting=Denoising(), time=LogitNormal())]
        return st.sampled_from([*flows, *more, FlowMatching(weighting=LearnedUncertainty())])


@pytest.mark.parametrize(("path", "head"), PRODUCTS)
@pytest.mark.parametrize("weighting", [MinSNR(5.0), Denoising(0.5)])
def test_a_weighting_means_the_same_under_every_head(path, head, weighting):
    """w·‖Δraw‖² in units of ‖Δx̂‖² is min(SNR, γ), or EDM's λ(σ)."""
    t = T * path.t_max
    on_x = weighting.weight(path, head, t) / head.gains(path, t)[0] ** 2
    snr = torch.exp(path.log_snr(t))
    edm = (1 / snr + 0.25) / (0.25 / snr)
    close(on_x, snr.clamp(max=5) if isinstance(weighting, MinSNR) else edm, 1e-7)


def test_min_snr_is_the_papers_on_noise_and_v():
    snr = torch.exp(Cosine().log_snr(T))
    close(MinSNR(5.0).weight(Cosine(), Epsilon(), T), snr.clamp(max=5) / snr)
    close(MinSNR(5.0).weight(Cosine(), VPrediction(), T), snr.clamp(max=5) / (snr + 1))


@given(st.floats(0.1, 2))
def test_edms_weight_on_edms_head_is_one(sigma_data):
    weight = Denoising(sigma_data).weight(VarianceExploding(), EDMPreconditioned(sigma_data), T)
    close(weight, torch.ones_like(T), 1e-8)


def _at(objective, log_snr):
    """w(λ) of an objective at given log-SNRs, by its path's own time."""
    ratio = torch.exp(-log_snr / 2)
    times = {
        Straight: ratio / (1 + ratio),
        VarianceExploding: ratio / (1 + ratio),
        Cosine: torch.atan(ratio) * 2 / torch.pi,
    }
    return objective.log_snr_weight(times[type(objective.path)])


def test_rf_and_v_cos_have_the_same_weight_up_to_a_constant():
    expected = torch.exp(-LAMBDA / 2)
    for name in ("rf", "v/cos"):
        weight = _at(formulation(name), LAMBDA)
        close(weight / weight[40], expected, 1e-7)
    off = _at(formulation("eps/cos"), LAMBDA)
    close(off / off[40], 1 / torch.cosh(LAMBDA / 2), 1e-7)


@given(st.floats(-1.2, 1.2), st.floats(0.6, 1.8))
def test_edms_weight_is_the_papers(m, s):
    """N(λ | −2m, (2s)²)·(e^−λ + 0.5²) up to a constant (SD3, §3)."""
    weight = _at(formulation(f"edm({m!r},{s!r})"), LAMBDA)
    expected = torch.exp(-0.5 * ((LAMBDA + 2 * m) / (2 * s)) ** 2) * (torch.exp(-LAMBDA) + 0.25)
    close(weight / weight[40], expected / expected[40], 1e-7)


@pytest.mark.parametrize("density", [LogitNormal(0.5, 0.6), Mode(1.29), CosMap(), Beta(2, 3), Mixture()])
def test_a_density_of_times_is_the_weight_t_over_1_minus_t_times_it(density):
    drawn, weighed = FlowMatching(time=density), FlowMatching(weighting=DensityWeight(density))
    plain = formulation("rf").log_snr_weight(T)
    close(drawn.log_snr_weight(T), weighed.log_snr_weight(T), 1e-7)
    close(drawn.log_snr_weight(T) / plain, density.pdf(T), 1e-7)
    close(plain, T / (1 - T), 1e-9)


@pytest.mark.parametrize("density", [LogitNormal(0.5, 0.6), CosMap()])
def test_drawing_from_a_density_and_weighing_by_it_have_one_expectation(density):
    rows = 20_000
    u = (torch.arange(rows, dtype=torch.float64) + 0.5) / rows
    x, noise = torch.ones(rows, 2).double(), torch.tensor([0.3, -1.2]).double().expand(rows, 2)
    losses = [
        flow.loss(lambda z, t, c: torch.tanh(3 * z) * t[:, None], x, None, FixedDraws(noise=noise, time=u)).per_sample
        for flow in (FlowMatching(time=density), FlowMatching(weighting=DensityWeight(density)), FlowMatching())
    ]
    means = torch.stack(losses).mean(1)
    close(means[0], means[1], 1e-5)
    assert abs(float(means[0] - means[2])) > 1e-2


def test_the_logged_loss_is_without_weight_and_loss_at_too():
    x, t = draws(16).normal("data", (16, 2), torch.float64), T[:16]
    given_ = FixedDraws(noise=x.flip(0), time=t)
    plain, weighed = FlowMatching(), FlowMatching(weighting=MinSNR(0.7))
    losses = [flow.loss(lambda z, t, c: z, x, None, given_) for flow in (plain, weighed)]
    close(losses[0].logs["loss_flow"], losses[1].logs["loss_flow"])
    close(losses[1].per_sample, losses[0].per_sample * MinSNR(0.7).weight(Straight(), Velocity(), t))
    close(*(flow.loss_at(lambda z, t, c: z, x, None, t, x.flip(0)) for flow in (plain, weighed)))


def test_learned_uncertainty_starts_at_the_plain_loss_and_learns_each_levels_error():
    """At its best u is ln E error at every level: here the error is e^(−λ/8)."""
    flow = FlowMatching(time=LogitNormal(), weighting=LearnedUncertainty(features=64))
    learned = flow.weighting
    assert isinstance(learned, LearnedUncertainty)
    assert [name for name, _ in flow.named_parameters()] == ["weighting.coefficients"]
    assert list(flow.state_dict()) == ["weighting.coefficients"]
    t = flow.times(torch.linspace(0.02, 0.98, 256))
    error = torch.exp(-flow.path.log_snr(t) / 8)
    close(flow.weighted(error, t), error)
    optimizer = torch.optim.Adam(flow.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        flow.weighted(error, t).mean().backward()
        optimizer.step()
    with torch.no_grad():
        u = learned.log_variance(flow.path, t)
        assert float((u - error.log()).abs().max()) < 0.1
        close(flow.weighted(error, t), error * torch.exp(-u) + u, 1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            assert learned.log_variance(flow.path, t).dtype == torch.float32
            close(learned.log_variance(flow.path, t), u, 1e-5)


def test_notation_tells_the_weighting():
    assert FlowMatching(weighting=MinSNR(3)).notation == "rf + MinSNR(gamma=3)"
    assert FlowMatching(weighting=LearnedUncertainty(MinSNR(), 8)).notation.startswith("rf + LearnedUncertainty(")
    assert FlowMatching(weighting=Unweighted()).notation == "rf"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MinSNR(0.0), "gamma"),
        (lambda: MinSNR(math.inf), "gamma"),
        (lambda: Denoising(-1.0), "sigma_data"),
        (lambda: DensityWeight(Mode(-1)), "finite"),
        (lambda: DensityWeight(Beta(0.5, 1)), "finite"),
        (lambda: LearnedUncertainty(features=1), "at least 2"),
        (lambda: LearnedUncertainty(LearnedUncertainty()), "fixed weighting"),
        (lambda: Shortcut(FlowMatching(weighting=MinSNR())), "takes no weighting"),
    ],
)
def test_parameters_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_uniform_as_a_weight_is_none():
    close(DensityWeight(Uniform()).weight(Straight(), Velocity(), T), torch.ones_like(T))

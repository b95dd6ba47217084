"""Nothing of an objective stays behind on the CPU, nothing waits for a device: held on torch's device without memory.

A tensor on "meta" has a shape and no values: what would meet it from the CPU is refused as on a GPU, and so is whatever
asks for a value.
"""

from __future__ import annotations

import pytest
import torch

from objectives import (
    SCM,
    ConsistencyDistillation,
    ConsistencyTraining,
    Draws,
    FlowMatching,
    Guidance,
    LiveReflow,
    MeanFlow,
    ProgressiveDistillation,
    Reflow,
    Shortcut,
    formulation,
    sample,
)
from objectives.base import stand_ins
from objectives.densities import Beta, CosMap, LogitNormal, Mixture, Mode, Shifted, Uniform
from objectives.heads import Data
from objectives.oracle import GaussianMixture
from objectives.paths import Cosine, LDMLinear, Straight, VarianceExploding
from objectives.solvers import DDIM, DPMPP2M, RK4, EDMStochastic, Euler, EulerMaruyama, Heun, Midpoint
from objectives.weightings import Denoising, DensityWeight, LearnedUncertainty, MinSNR

META = torch.device("meta")
ROWS = 8
OBJECTIVES = [
    *(formulation(name) for name in ("rf", "rf/mode(1.29)", "edm(-1.20,1.20)", "eps/linear", "v/cos")),
    FlowMatching(path=Cosine(), head=Data(), time=Mixture(), weighting=MinSNR()),
    FlowMatching(time=Beta(), weighting=LearnedUncertainty(Denoising(), features=8)),
    FlowMatching(time=Shifted(), weighting=DensityWeight()),
    Shortcut(),
    Shortcut(label="zero", teacher="online"),
    MeanFlow(),
    ConsistencyTraining(),
    SCM(),
    ConsistencyDistillation(),
    ProgressiveDistillation(),
    Reflow(),
    LiveReflow(),
]


def _network(z, t, condition=None, step=None):
    out = z * t.to(z.dtype)[:, None]
    if condition is not None:
        out = out + (condition["label"] * ~condition["drop"])[:, None]
    return out if step is None else out * step.to(z.dtype)[:, None]


def _draws(device=META):
    return Draws(0, 3, torch.arange(ROWS, device=device), ROWS)


@pytest.mark.parametrize("condition", [None, {"label": torch.zeros(ROWS, device=META)}])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.notation)
def test_a_loss_stays_where_its_batch_is(objective, condition, monkeypatch):
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)  # knows no meta
    x = torch.zeros(ROWS, 3, device=META)
    draws = _draws().given(noise=x) if objective.needs.pairs else _draws()
    loss = objective.to(META).loss(_network, x, condition, draws, **stand_ins(objective, _network))
    assert (loss.per_sample.device, loss.per_sample.dtype, loss.per_sample.shape) == (META, torch.float32, (ROWS,))
    assert {value.device for value in loss.logs.values()} == {META}
    assert loss.times is not None
    assert loss.times.device == META
    times = torch.zeros(ROWS, device=META)
    assert objective.loss_at(_network, x, None, times, x).device == META


SOLVERS = (Euler(), DDIM(), Heun(), Midpoint(), RK4(), DPMPP2M(), EulerMaruyama())
SAMPLED = [(solver, FlowMatching(path=path)) for solver in SOLVERS for path in (Straight(), LDMLinear())]
SAMPLED += [(solver, formulation("edm/rf")) for solver in (*SOLVERS, EDMStochastic())]


@pytest.mark.parametrize(("solver", "objective"), [*SAMPLED, (Euler(), Shortcut())], ids=str)
@pytest.mark.parametrize("guidance", [1.0, Guidance(2.0, rescale=0.5)])
def test_samples_stay_where_their_noise_is(solver, objective, guidance):
    noise = torch.zeros(ROWS, 3, device=META, dtype=torch.float64)
    condition = {"label": torch.zeros(ROWS, device=META), "drop": torch.zeros(ROWS, dtype=torch.bool, device=META)}
    out = sample(
        objective, _network, noise, condition, steps=3, solver=solver, guidance=guidance, draws=_draws(),
        network_dtype=torch.float32,
    )  # fmt: skip
    assert (out.device, out.dtype, out.shape) == (META, torch.float64, noise.shape)


@pytest.mark.parametrize(
    "density",
    [Uniform(), LogitNormal(), Mode(), CosMap(), Beta(), Shifted(density=Beta(2, 5)), Mixture(LogitNormal(), Beta())],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_densities_stay_where_their_argument_is(density, dtype):
    u = torch.empty(5, device=META, dtype=dtype)
    for value in (density.quantile(u), density.cdf(u), density.pdf(u)):
        assert (value.device, value.dtype, value.shape) == (META, dtype, u.shape)


@pytest.mark.parametrize("path", [Straight(), Cosine(), LDMLinear(), VarianceExploding()], ids=str)
def test_the_oracle_stays_where_its_argument_is(path):
    data = GaussianMixture(torch.zeros(2, 3), torch.ones(2))
    z, t = torch.empty(5, 3, device=META, dtype=torch.float64), torch.empty(5, device=META, dtype=torch.float64)
    assert data.flow_map(path, z, t, t, steps=2).device == META
    assert data.log_prob(z).device == META
    assert data.sample(t, z).device == META


def test_draws_on_a_device_are_the_cpus_in_shape():
    for device in (META, torch.device("cpu")):
        draws = _draws(device)
        assert (draws.uniform("u", (ROWS, 5)).device, draws.uniform("u", (ROWS, 5)).shape) == (device, (ROWS, 5))
        assert (draws.normal("n", (ROWS, 3)).device, draws.normal("n", (ROWS, 3)).shape) == (device, (ROWS, 3))
        cycle = draws.cycle("c", 7, every=2)
        assert (cycle.device, cycle.dtype, cycle.shape) == (device, torch.int64, (ROWS,))

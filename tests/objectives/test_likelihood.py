"""Log-likelihood: a mixture's closed form, Hutchinson's estimate, what does not fit."""

from __future__ import annotations

import math

import pytest
import torch

from objectives import FixedDraws, FlowMatching, Shortcut, formulation
from objectives.conformance.common import close, draws, mixture
from objectives.heads import EDMPreconditioned
from objectives.likelihood import bits_per_dimension, log_likelihood
from objectives.oracle import GaussianMixture
from objectives.paths import Cosine, VarianceExploding
from objectives.solvers import Dopri5

ROWS = 48
X = mixture().sample(draws(ROWS).uniform("u", (ROWS,)), draws(ROWS).normal("x", (ROWS, 2), torch.float64))
FAR = VarianceExploding(sigma_max=5000.0)  # at σ = 80 the data's mean still moves the prior by 3e-3 nats
FLOWS = {
    "rf": FlowMatching(),
    "cosine": FlowMatching(path=Cosine(t_max=1.0)),
    "exploding": FlowMatching(path=FAR),
    "edm": FlowMatching(path=FAR, head=EDMPreconditioned()),
}


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_a_mixtures_log_likelihood_is_its_closed_form(flow):
    found = log_likelihood(flow, mixture().network(flow), X, None)
    assert float((found - mixture().log_prob(X)).abs().max()) < 1e-3


def test_another_mixtures_is_not():
    wrong = GaussianMixture(mixture().means, 1.1 * mixture().stds, mixture().weights)
    found = log_likelihood(FLOWS["rf"], wrong.network(FLOWS["rf"]), X, None)
    assert float((found - mixture().log_prob(X)).abs().mean()) > 0.01
    assert float((found - wrong.log_prob(X)).abs().max()) < 1e-3


def test_in_float32_too():
    found = log_likelihood(FLOWS["rf"], mixture().network(FLOWS["rf"]), X.float(), None)
    assert found.dtype == torch.float32
    assert float((found - mixture().log_prob(X)).abs().max()) < 1e-3


def test_hutchinson_is_exact_over_all_signs_and_unbiased_over_some():
    flow, signs = FLOWS["rf"], torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    network, tight = mixture().network(flow), Dopri5(1e-8, 1e-8)
    exact = log_likelihood(flow, network, X, None, solver=tight)
    every = FixedDraws(probe=(0.5 - 0.4 * signs).expand(ROWS, 4, 2))
    close(log_likelihood(flow, network, X, None, divergence="hutchinson", probes=4, draws=every, solver=tight), exact)
    some = log_likelihood(flow, network, X, None, divergence="hutchinson", draws=draws(ROWS), solver=tight)
    assert float((some - exact).abs().max()) > 0.05
    spread = float((some - exact).std()) / math.sqrt(ROWS)
    assert abs(float((some - exact).mean())) < 4 * spread


def test_any_shape_and_condition_pass_through():
    flow, seen = FLOWS["rf"], []
    exact = mixture().network(flow)

    def network(z, t, condition, step=None):
        seen.append((z.shape, z.dtype, t.dtype, set(condition)))
        return exact(z.flatten(1), t).reshape(z.shape)

    condition = {"label": torch.zeros(ROWS)}
    found = log_likelihood(flow, network, X.reshape(ROWS, 1, 2), condition, network_dtype=torch.float32)
    assert set(map(str, seen)) == {str((torch.Size([ROWS, 1, 2]), torch.float32, torch.float32, {"label"}))}
    assert found.dtype == torch.float64
    assert float((found - mixture().log_prob(X)).abs().max()) < 1e-3


def test_bits_per_dimension():
    # The uniform density on [-1, 1]³, and 256 cells on each side.
    uniform = torch.tensor([-3 * math.log(2)])
    close(bits_per_dimension(uniform, 3), torch.ones(1), 1e-6)
    close(bits_per_dimension(uniform, 3, bin_width=2 / 256), torch.full((1,), 8.0), 1e-6)
    with pytest.raises(ValueError, match="positive width"):
        bits_per_dimension(uniform, 3, bin_width=0.0)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"divergence": "hutchison"}, "one of exact, hutchinson"),
        ({"divergence": "hutchinson"}, "needs draws"),
        ({"divergence": "hutchinson", "probes": 0}, "at least one probe"),
        ({"objective": Shortcut()}, "cannot be sampled with dopri5"),
    ],
)
def test_what_does_not_fit_is_refused(given, told):
    objective = given.pop("objective", formulation("rf"))
    with pytest.raises(ValueError, match=told):
        log_likelihood(objective, mixture().network(objective), X, None, **given)

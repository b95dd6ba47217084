"""The kit for densities of the training time."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from objectives.conformance.common import EXACT, LEVEL, STATISTICAL, close, draws, uniformity
from objectives.densities import TimeDensity


class DensityConformance:
    """Rule 1: the quantile function rises and inverts the cdf, the pdf is its derivative, its draws follow it."""

    def densities(self) -> st.SearchStrategy[TimeDensity]:
        """The densities to test."""
        raise NotImplementedError

    @EXACT
    @given(st.data())
    def test_quantile_rises_from_0_to_1(self, data: st.DataObject) -> None:
        density = data.draw(self.densities())
        t = density.quantile(torch.linspace(0, 1, 1001, dtype=torch.float64))
        close(t[[0, -1]], torch.tensor([0.0, 1.0], dtype=torch.float64))
        assert bool((t.diff() >= -1e-15).all())
        assert float(t[750] - t[250]) > 0

    @EXACT
    @given(st.data())
    def test_cdf_inverts_quantile_and_pdf_is_the_derivative(self, data: st.DataObject) -> None:
        density = data.draw(self.densities())
        u = torch.linspace(0.0005, 0.9995, 1000, dtype=torch.float64, requires_grad=True)
        t = density.quantile(u)
        (slope,) = torch.autograd.grad(t.sum(), u)
        t, u = t.detach(), u.detach()
        # Where t rounds onto an end, or π is nearly infinite, neither side is known to many digits.
        clear = (t > 1e-6) & (t < 1 - 1e-6) & (slope > 1e-3)
        close(density.quantile(density.cdf(t))[clear], t[clear])
        close(density.cdf(t)[clear], u[clear], 1e-8)
        close((density.pdf(t) * slope)[clear], torch.ones_like(u)[clear], 1e-6)

    @STATISTICAL
    @given(st.data())
    def test_draws_follow_the_cdf(self, data: st.DataObject) -> None:
        density = data.draw(self.densities())
        u = draws(20_000).uniform("time", (20_000, 1), torch.float64)
        assert uniformity(density.cdf(density.quantile(u)), 50) > LEVEL
        assert uniformity(density.cdf(density.quantile(u**1.1)), 50) < LEVEL

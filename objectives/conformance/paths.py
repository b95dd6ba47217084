"""The kit for paths."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from objectives.conformance.common import EXACT, close
from objectives.paths import Path


class PathConformance:
    """Rule 2: a(0) = 1, b(0) = 0; derivatives, log-SNR, clock and grid agree with a and b."""

    def paths(self) -> st.SearchStrategy[Path]:
        """The paths to test."""
        raise NotImplementedError

    @EXACT
    @given(st.data())
    def test_coefficients_agree_with_automatic_differentiation(self, data: st.DataObject) -> None:
        path = data.draw(self.paths())
        zero = torch.zeros(1, dtype=torch.float64)
        close(torch.cat((path.a(zero), path.b(zero), path.clock(zero))), torch.tensor([1.0, 0, 0]).double())
        t = torch.linspace(0.001, 0.999 * path.t_max, 200, dtype=torch.float64, requires_grad=True)

        def derivative(value: Tensor) -> Tensor:
            return torch.autograd.grad(value.sum(), t)[0] if value.requires_grad else torch.zeros_like(t)

        clock_rate = derivative(path.clock(t))
        assert bool((clock_rate > 0).all())
        close(path.da(t), derivative(path.a(t)))
        close(path.db(t), derivative(path.b(t)))
        close(path.rates(t)[0] * clock_rate, path.da(t))
        close(path.rates(t)[1] * clock_rate, path.db(t))
        close(path.log_snr(t), 2 * torch.log(path.a(t) / path.b(t)))
        close(path.time(path.clock(t)), t)

    @EXACT
    @given(st.data(), st.integers(1, 200))
    def test_grid_descends_from_t_max_to_0(self, data: st.DataObject, steps: int) -> None:
        path = data.draw(self.paths())
        grid = path.grid(steps)
        assert grid.dtype == torch.float64
        assert grid.shape == (steps + 1,)
        assert bool((grid.diff() < 0).all())
        close(grid[[0, -1]], torch.tensor([path.t_max, 0.0], dtype=torch.float64))
        noise = torch.linspace(-2, 2, 5, dtype=torch.float64)
        close(path.prior(noise), path.b(grid[:1]) * noise, 0.01)

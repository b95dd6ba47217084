"""The kit for weightings."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from objectives.conformance.common import EXACT, close, draws
from objectives.flow_matching import FlowMatching
from objectives.weightings import TimeWeighting


class WeightingConformance:
    """A weight is finite, not negative, a function of a row's own time, and adds nothing but that factor."""

    def weightings(self) -> st.SearchStrategy[TimeWeighting]:
        """The weightings to test."""
        raise NotImplementedError

    def flows(self) -> st.SearchStrategy[FlowMatching]:
        """Flows on whose path, head and times they stand; the times are the flow's own."""
        raise NotImplementedError

    @EXACT
    @given(st.data())
    def test_weights_are_finite_and_not_negative_at_the_flows_times(self, data: st.DataObject) -> None:
        weighting, flow = data.draw(self.weightings()), data.draw(self.flows())
        for dtype in (torch.float32, torch.float64):
            t = flow.times(torch.tensor([2.0**-24, 0.01, 0.5, 0.99, 1 - 2.0**-24], dtype=dtype))
            weight = weighting.weight(flow.path, flow.head, t)
            assert (weight.dtype, weight.shape) == (dtype, t.shape)
            assert bool(weight.isfinite().all())
            assert bool((weight >= 0).all())

    @EXACT
    @given(st.data())
    def test_a_loss_is_the_weight_times_the_error_row_by_row(self, data: st.DataObject) -> None:
        weighting, flow = data.draw(self.weightings()), data.draw(self.flows())
        t = flow.times(draws(32).uniform("time", (32,), torch.float64))
        error = draws(32).uniform("error", (32,), torch.float64).requires_grad_()
        weighed = weighting.weigh(error, flow.path, flow.head, t)
        (slope,) = torch.autograd.grad(weighed.sum(), error)
        close(slope, weighting.weight(flow.path, flow.head, t).detach())
        order = torch.arange(31, -1, -1)
        close(weighting.weigh(error[order], flow.path, flow.head, t[order]), weighed[order])

"""The kit for time grids."""

from __future__ import annotations

import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from objectives.base import Objective
from objectives.conformance.common import EXACT
from objectives.time_grids import TimeGrid


class TimeGridConformance:
    """Times descend from where the objective's prior stands to the data, on every path that takes the grid."""

    def grids(self) -> st.SearchStrategy[TimeGrid]:
        """The time grids to test."""
        raise NotImplementedError

    def objectives(self) -> st.SearchStrategy[Objective]:
        """Objectives to sample; those that a grid refuses are left out."""
        raise NotImplementedError

    @EXACT
    @given(st.data(), st.integers(1, 40))
    def test_times_descend_from_the_prior_to_the_data(self, data: st.DataObject, steps: int) -> None:
        grid, objective = data.draw(self.grids()), data.draw(self.objectives())
        try:
            grid.check(objective)
        except ValueError:
            assume(False)
        times = grid.times(objective, steps)
        assert times.shape == (steps + 1,)
        assert times.dtype == torch.float64
        assert bool((times.diff() < 0).all())
        assert float(times[0]) == float(objective.time_grid(steps)[0])
        assert float(times[-1]) == 0
        for illegal in (0, -1):
            try:
                grid.times(objective, illegal)
            except ValueError:
                continue
            raise AssertionError(f"times(…, {illegal}) was not refused")

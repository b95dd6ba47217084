"""The kits for the accuracy of solvers."""

from __future__ import annotations

from typing import Literal

import torch
from hypothesis import given
from hypothesis import strategies as st

from objectives.base import Objective
from objectives.conformance.common import STATISTICAL, mixture
from objectives.convergence import Convergence, even_times, reference, strong, weak
from objectives.solvers import Solver

_TOLERANCE = 0.15


class _OnObjectives:
    def solvers(self) -> st.SearchStrategy[Solver]:
        """The solvers to test."""
        raise NotImplementedError

    def objectives(self) -> st.SearchStrategy[Objective]:
        """The objectives that they serve."""
        raise NotImplementedError


class ConvergenceConformance(_OnObjectives):
    """Rule 4: a deterministic fixed-step solver converges with its order, on t ∈ [0.95, 0.05]."""

    order: float
    """The order of convergence."""

    even: Literal["tau", "log_snr"] = "tau"
    """In what the steps are equal: τ, or λ for a multistep solver."""

    @STATISTICAL
    @given(st.data())
    def test_converges_with_its_order(self, data: st.DataObject) -> None:
        solver, objective = data.draw(self.solvers()), data.draw(self.objectives())
        _of_order(strong(solver, objective, even=self.even), self.order)


class WeakConvergenceConformance(_OnObjectives):
    """Rule 4 for a solver of an SDE: mean and variance converge with its weak order, on a Gaussian."""

    order: float = 1
    """The weak order of convergence."""

    @STATISTICAL
    @given(st.data())
    def test_converges_with_its_weak_order(self, data: st.DataObject) -> None:
        _of_order(weak(data.draw(self.solvers()), data.draw(self.objectives())), self.order)


class AdaptiveConformance(_OnObjectives):
    """Rule 4 for an adaptive solver: its error follows its tolerance, its evaluations follow the accuracy asked for."""

    tolerances: tuple[float, ...] = (1e-4, 1e-6, 1e-8)
    """Falling tolerances."""

    factor: float = 10.0
    """How much larger the error at the end may be than the tolerance of a step."""

    def at(self, tolerance: float) -> Solver:
        """The solver with this tolerance, relative and absolute."""
        raise NotImplementedError

    @STATISTICAL
    @given(st.data())
    def test_error_follows_the_tolerance(self, data: st.DataObject) -> None:
        objective = data.draw(self.objectives())
        network, (z, exact) = mixture().network(objective), reference(objective.path)
        calls: list[int] = []
        for tolerance in self.tolerances:
            count = 0

            def counted(*arguments: object) -> torch.Tensor:
                nonlocal count
                count += 1
                return network(*arguments)

            out = self.at(tolerance).solve(objective, counted, z, even_times(objective.path, 1, "tau"), None)
            error = float((out - exact).square().mean().sqrt())
            assert error < self.factor * tolerance, (tolerance, error)
            calls.append(count)
        assert calls == sorted(calls)
        assert calls[-1] > calls[0]


def _of_order(found: Convergence, order: float) -> None:
    assert abs(found.order - order) < _TOLERANCE, (found, found.order)

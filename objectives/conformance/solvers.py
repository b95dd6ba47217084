"""The kits for solvers."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from objectives.base import Objective
from objectives.conformance.common import EXACT, STATISTICAL, draws, mixture
from objectives.sampling import sample
from objectives.solvers import Solver


class SolverConformance:
    """Network evaluations as counted, steps as announced, the noise's dtype kept."""

    def solvers(self) -> st.SearchStrategy[Solver]:
        """The solvers to test."""
        raise NotImplementedError

    def objectives(self) -> st.SearchStrategy[Objective]:
        """The objectives that they serve."""
        raise NotImplementedError

    def evaluations(self, steps: int) -> int:
        """Network evaluations of a grid of so many steps that ends at t = 0."""
        raise NotImplementedError

    @EXACT
    @given(st.data(), st.integers(1, 12))
    def test_evaluations_and_steps_are_counted(self, data: st.DataObject, steps: int) -> None:
        solver, objective = data.draw(self.solvers()), data.draw(self.objectives())
        noise, seen = draws(4).normal("noise", (4, 2)), []
        out, nfe = sample(
            objective,
            mixture().network(objective),
            noise,
            None,
            steps=steps,
            solver=solver,
            draws=draws(4),
            on_step=lambda done, t, z: seen.append((done, t)),
            return_nfe=True,
        )
        assert nfe == self.evaluations(steps)
        assert seen == list(enumerate(objective.time_grid(steps).tolist()))[1:]
        assert out.dtype == noise.dtype
        assert bool(out.isfinite().all())


class ConvergenceConformance:
    """Rule 4: a deterministic fixed-step solver converges with its order, on t ∈ [0.95, 0.05], uniform in τ."""

    order: float
    """The order of convergence."""

    def solvers(self) -> st.SearchStrategy[Solver]:
        """The solvers to test."""
        raise NotImplementedError

    def objectives(self) -> st.SearchStrategy[Objective]:
        """The objectives that they serve."""
        raise NotImplementedError

    @STATISTICAL
    @given(st.data())
    def test_converges_with_its_order(self, data: st.DataObject) -> None:
        solver, objective = data.draw(self.solvers()), data.draw(self.objectives())
        path, network = objective.path, mixture().network(objective)
        ends = torch.tensor([0.95, 0.05], dtype=torch.float64)
        z = draws(32).normal("noise", (32, 2), torch.float64) * path.b(ends[:1])
        exact = mixture().flow_map(path, z, ends[:1].expand(32), ends[1:].expand(32))
        first, last = path.clock(ends).tolist()
        counts, errors = (128, 256, 512), []
        for steps in counts:
            times = path.time(torch.linspace(first, last, steps + 1, dtype=torch.float64))
            out = solver.solve(objective, network, z, times, None)
            errors.append(float((out - exact).square().mean().sqrt()))
        slope = math.log(errors[0] / errors[-1]) / math.log(counts[-1] / counts[0])
        assert abs(slope - self.order) < 0.15, (errors, slope)

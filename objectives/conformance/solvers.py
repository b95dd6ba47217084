"""The kit for solvers."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from objectives.base import Objective
from objectives.conformance.common import EXACT, close, draws, mixture
from objectives.sampling import sample
from objectives.solvers import Solver
from objectives.solvers.base import OnStep


class SolverConformance:
    """Network evaluations as counted, steps as announced, the noise's dtype kept."""

    def solvers(self) -> st.SearchStrategy[Solver]:
        """The solvers to test."""
        raise NotImplementedError

    def objectives(self) -> st.SearchStrategy[Objective]:
        """The objectives that they serve."""
        raise NotImplementedError

    def evaluations(self, steps: int) -> int | None:
        """Network evaluations of a grid of so many steps that ends at t = 0; None where they depend on the data."""
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
        assert nfe == self.evaluations(steps) or (self.evaluations(steps) is None and nfe >= steps)
        assert seen == list(enumerate(objective.time_grid(steps).tolist()))[1:]
        assert out.dtype == noise.dtype
        assert bool(out.isfinite().all())

    @EXACT
    @given(st.data(), st.integers(2, 6))
    def test_what_on_step_returns_takes_the_samples_place(self, data: st.DataObject, steps: int) -> None:
        solver, objective = data.draw(self.solvers()), data.draw(self.objectives())
        network, noise = mixture().network(objective), draws(4).normal("noise", (4, 2), torch.float64)

        def end(on_step: OnStep) -> Tensor:
            return sample(objective, network, noise, None, steps=steps, solver=solver, draws=draws(4), on_step=on_step)

        close(end(lambda done, t, z: torch.full_like(z, 3.0)), torch.full_like(noise, 3.0))
        moved = end(lambda done, t, z: z + 1.0 if done == steps - 1 else None)
        assert not torch.allclose(moved, end(lambda done, t, z: None), atol=1e-6)

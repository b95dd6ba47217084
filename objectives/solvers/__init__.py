"""Solvers of a path's ODE, one per file."""

from objectives.solvers.base import Solver
from objectives.solvers.ddim import DDIM
from objectives.solvers.edm_stochastic import EDMStochastic
from objectives.solvers.euler import Euler
from objectives.solvers.heun import Heun

SOLVERS: dict[str, type[Solver]] = {solver.name: solver for solver in (Euler, DDIM, Heun, EDMStochastic)}

__all__ = ["DDIM", "SOLVERS", "EDMStochastic", "Euler", "Heun", "Solver"]

"""Solvers of a path's ODE, and two of its SDE, one per file."""

from objectives.solvers.base import Solver
from objectives.solvers.consistency import Consistency
from objectives.solvers.ddim import DDIM
from objectives.solvers.dopri5 import Dopri5
from objectives.solvers.dpmpp_2m import DPMPP2M
from objectives.solvers.edm_stochastic import EDMStochastic
from objectives.solvers.euler import Euler
from objectives.solvers.euler_maruyama import EulerMaruyama
from objectives.solvers.heun import Heun
from objectives.solvers.midpoint import Midpoint
from objectives.solvers.rk4 import RK4

SOLVERS: dict[str, type[Solver]] = {
    solver.name: solver
    for solver in (Euler, DDIM, Heun, Midpoint, RK4, DPMPP2M, Dopri5, EulerMaruyama, EDMStochastic, Consistency)
}

__all__ = [
    "DDIM",
    "DPMPP2M",
    "RK4",
    "SOLVERS",
    "Consistency",
    "Dopri5",
    "EDMStochastic",
    "Euler",
    "EulerMaruyama",
    "Heun",
    "Midpoint",
    "Solver",
]

"""Property tests for plugins: subclass a kit, say what to test, and pytest runs Hypothesis over it.

    class TestMyDensity(DensityConformance):
        def densities(self):
            return st.builds(MyDensity, st.floats(0.1, 2.0))

What a kit needs stands in its methods that raise NotImplementedError. Statistical tests are one joint test per object
at a level of 1e-4 with fixed random numbers, and each of them must also reject a planted fault.
"""

from objectives.conformance.convergence import (
    AdaptiveConformance,
    ConvergenceConformance,
    WeakConvergenceConformance,
)
from objectives.conformance.couplings import CouplingConformance
from objectives.conformance.densities import DensityConformance
from objectives.conformance.heads import HeadConformance
from objectives.conformance.objectives import ObjectiveConformance
from objectives.conformance.paths import PathConformance
from objectives.conformance.solvers import SolverConformance
from objectives.conformance.time_grids import TimeGridConformance
from objectives.conformance.weightings import WeightingConformance

__all__ = [
    "AdaptiveConformance",
    "ConvergenceConformance",
    "CouplingConformance",
    "DensityConformance",
    "HeadConformance",
    "ObjectiveConformance",
    "PathConformance",
    "SolverConformance",
    "TimeGridConformance",
    "WeakConvergenceConformance",
    "WeightingConformance",
]

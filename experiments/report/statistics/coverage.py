"""How often the intervals hold what they should, as it was measured: the page prints it beside them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Coverage:
    """Share of 2,000 simulated studies whose 95 % interval of a mean over ``n`` seeds held it; BCa takes n ≥ 3.

    ``shape`` is what a seed's number is drawn from.
    """

    shape: str
    n: int
    student: float
    percentile: float
    bca: float | None


MEASURED = (
    Coverage("normal", 2, 0.954, 0.5145, None),
    Coverage("normal", 3, 0.9515, 0.7585, 0.732),
    Coverage("normal", 5, 0.942, 0.8375, 0.835),
    Coverage("normal", 10, 0.9445, 0.8995, 0.8985),
    Coverage("normal", 20, 0.9505, 0.92, 0.918),
    Coverage("normal", 50, 0.9455, 0.9325, 0.934),
    Coverage("exponential", 2, 0.914, 0.491, None),
    Coverage("exponential", 3, 0.875, 0.6955, 0.6795),
    Coverage("exponential", 5, 0.881, 0.7715, 0.785),
    Coverage("exponential", 10, 0.8995, 0.864, 0.877),
    Coverage("exponential", 20, 0.9245, 0.9115, 0.9155),
    Coverage("exponential", 50, 0.9245, 0.92, 0.9305),
)
"""What `fewstep bench intervals` printed."""

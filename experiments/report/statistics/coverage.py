"""How often the intervals hold what they should, as it was measured: the page prints it beside them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Coverage:
    """Share of 2,000 simulated studies whose 95 % interval of a mean over ``n`` seeds held it; BCa for n ≥ 3."""

    shape: str
    n: int
    student: float
    percentile: float
    bca: float | None


MEASURED = ()

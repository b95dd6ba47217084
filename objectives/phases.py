"""Equal phases of a training: which one a share of the training lies in."""

from __future__ import annotations

import math

_ROUNDING = 1e-9


def phase_of(progress: float, phases: int) -> int:
    """The phase, 0 … phases − 1, that step n of N lies in, `progress` being n/N: phase i begins at step ⌈i·N/phases⌉.

    Right for every n and N up to 10⁸ although n/N is rounded; the end of the training belongs to the last phase.
    """
    return min(phases - 1, math.floor(progress * phases + _ROUNDING))

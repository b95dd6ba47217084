"""Sudden death at a chosen place, for the tests that a run survives it. Imports no torch."""

from __future__ import annotations

import os
import signal

VARIABLE = "FEWSTEP_CHAOS"
_counts: dict[str, int] = {}


def reach(point: str) -> None:
    """Kill this process (SIGKILL, as a power cut would) where ``FEWSTEP_CHAOS=POINT:COUNT[:RANK]`` says so.

    It does at the COUNT-th time that this process comes by POINT, on the rank RANK alone if one is named.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    name, count, *rank = wanted.split(":")
    if name != point or (rank and rank[0] != os.environ.get("LOCAL_RANK", "0")):
        return
    _counts[point] = _counts.get(point, 0) + 1
    if _counts[point] == int(count):
        os.kill(os.getpid(), signal.SIGKILL)

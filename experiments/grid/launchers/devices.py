"""Which GPUs this machine has, and how many of them a worker needs, without asking torch."""

from __future__ import annotations

import os
import subprocess

from experiments.grid.study import Study
from experiments.grid.values import lookup

_QUERY = ("nvidia-smi", "--query-gpu=index", "--format=csv,noheader")


def devices(study: Study) -> list[str]:
    """The GPUs that workers may share out: those of ``CUDA_VISIBLE_DEVICES`` if it is set, else all; none where the
    study's base asks for the CPU."""
    assert study.plan is not None
    if lookup(study.plan["base"], "trainer.accelerator") == "cpu":
        return []
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [name.strip() for name in told.split(",") if name.strip() not in ("", "-1")]
    try:
        found = subprocess.run(_QUERY, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    return found.stdout.split()


def devices_asked(study: Study) -> int:
    """The most ``trainer.devices`` of any cell."""
    assert study.plan is not None
    base = lookup(study.plan["base"], "trainer.devices") or 1
    return max([cell.overrides.get("trainer.devices", base) for cell in study.cells], default=base)

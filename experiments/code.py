"""Which code it is: a version that changes with whatever could change a run's numbers. Imports no torch."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("objectives", "backbones", "datamodules", "experiments")
_BESIDE = ("bench", "cli", "grid", "grids", "report")
"""Folders of experiments/ that read or start runs, and change nothing in them."""


@cache
def version() -> str:
    """12 hex digits of the SHA-256 over our sources of objectives, backbones, data, training and evaluation.

    What starts, shows or reports runs is left out.
    """
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for file in sorted((_ROOT / package).rglob("*.py")):
            place = file.relative_to(_ROOT)
            if package != "experiments" or place.parts[1] not in _BESIDE:
                digest.update(f"{place}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:12]

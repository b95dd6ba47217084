"""Installs the objectives of taught_objectives.py, in a test or, as ``python -P install_taught.py SCRIPT …``, around a
script."""

from __future__ import annotations

import importlib.metadata
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

GROUP = "fewstep.objectives"
OBJECTIVES = {
    "frozen": "taught_objectives:Frozen",
    "averaged": "taught_objectives:Averaged",
    "phased": "taught_objectives:Phased",
    "consistent": "taught_objectives:Consistent",
}


def points(installed: Callable[..., Any]) -> Callable[..., Any]:
    """``importlib.metadata.entry_points`` with these objectives among the others."""

    def found(**asked: Any) -> Any:
        if asked != {"group": GROUP}:
            return installed(**asked)
        own = [importlib.metadata.EntryPoint(name, target, GROUP) for name, target in OBJECTIVES.items()]
        return importlib.metadata.EntryPoints([*installed(group=GROUP), *own])

    return found


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    importlib.metadata.entry_points = points(importlib.metadata.entry_points)  # type: ignore[assignment]
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")

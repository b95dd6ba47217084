"""Installs the plugins of taught_objectives.py and filed_data.py, in a test or, as ``python -P install_taught.py SCRIPT
…``, around a script."""

from __future__ import annotations

import importlib.metadata
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PLUGINS = {
    "fewstep.objectives": {
        "frozen": "taught_objectives:Frozen",
        "averaged": "taught_objectives:Averaged",
        "phased": "taught_objectives:Phased",
        "consistent": "taught_objectives:Consistent",
    },
    "fewstep.datamodules": {"filed": "filed_data:Filed"},
}


def points(installed: Callable[..., Any]) -> Callable[..., Any]:
    """``importlib.metadata.entry_points`` with these plugins among the others."""

    def found(**asked: Any) -> Any:
        group = asked.get("group")
        if asked.keys() != {"group"} or group not in PLUGINS:
            return installed(**asked)
        own = [importlib.metadata.EntryPoint(name, target, group) for name, target in PLUGINS[group].items()]
        return importlib.metadata.EntryPoints([*installed(group=group), *own])

    return found


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    importlib.metadata.entry_points = points(importlib.metadata.entry_points)  # type: ignore[assignment]
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")

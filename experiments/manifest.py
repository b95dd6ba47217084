"""manifest.json: with what, by whom and where a run was made."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

from experiments.files import read_json, write_json
from experiments.runs import Run

_PACKAGES = ("fewstep", "torch", "lightning", "torchmetrics", "kornia", "numpy")


def write_manifest(run: Run) -> None:
    """Append this attempt to manifest.json: versions, git revision, command, device, third-party callbacks."""
    import torch

    attempt: dict[str, Any] = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **_imported(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {os.cpu_count()} cores",
        "threads": run.config.trainer.threads or torch.get_num_threads(),
    }
    note(run, "attempts", attempt)


@functools.cache
def _imported() -> dict[str, Any]:
    """What this process runs: read once, for it keeps the code that it has imported, whatever is installed later."""
    return {
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _PACKAGES},
        "git": _git_revision(),
        # Lightning adds the callbacks of these entry points to every trainer: an installed package can change a run.
        "third_party_callbacks": [
            str(entry.value) for entry in entry_points(group="lightning.pytorch.callbacks_factory")
        ],
    }


def note(run: Run, what: str, entry: dict[str, Any]) -> None:
    """Append to one of manifest.json's lists."""
    manifest = read_json(run.path / "manifest.json") or {}
    run.fence()
    write_json(run.path / "manifest.json", {**manifest, what: [*manifest.get(what, []), entry]})


def _git_revision() -> str | None:
    """The revision of the code that runs, "+" behind it where the working tree differs; None outside a checkout."""
    here = Path(__file__).parent
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None

"""A plugin's defaults belong to its version: what changes one without the other changes runs behind their names.

An option that is new takes nothing from the runs that were without it: its default is what they did.
A change that is meant: raise the class's ``version`` and run ``python tests/experiments/test_config_versions.py``,
which writes plugin_versions.json anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from experiments.config.plugins import REQUIRED, Plugin, identity, options, plain
from experiments.registry import GROUPS, entries

RECORD = Path(__file__).with_name("plugin_versions.json")
IDENTIFYING = tuple(group for group in GROUPS if group not in ("metrics", "features", "trackers", "launchers"))
"""The groups whose plugins are part of a run's identity."""


def default(value: Any) -> Any:
    """A default as plain data; a plugin by its identity, so that its own version is seen."""
    if value is REQUIRED:
        return "required"
    return {"plugin": identity(value)} if isinstance(value, Plugin) else plain(value)


def installed() -> dict[str, Any]:
    """Group and name -> version and defaults, of the plugins that fewstep itself brings."""
    found = {}
    for group in IDENTIFYING:
        for entry in entries(group).values():
            if entry.distribution == "fewstep":
                known = options(entry.load(), group)
                found[f"{group}.{entry.name}"] = {
                    "version": entry.load().version,
                    "defaults": {name: default(option.default) for name, option in known.items()},
                }
    return found


def test_no_default_changes_without_its_version() -> None:
    recorded, now = json.loads(RECORD.read_text()), json.loads(json.dumps(installed()))
    for name, what in now.items():
        assert name in recorded, f"{name} is new: run python {Path(__file__).name}"
        before = recorded[name]["defaults"]
        if any(option not in what["defaults"] or what["defaults"][option] != before[option] for option in before):
            assert what["version"] > recorded[name]["version"], f"{name}: its defaults have changed, raise its version"
    assert now == recorded, f"run python {Path(__file__).name}"


if __name__ == "__main__":
    RECORD.write_text(json.dumps(installed(), indent=2, sort_keys=True) + "\n")

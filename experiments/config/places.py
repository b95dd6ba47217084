"""Options that say where something lies, told so that they mean the same from any folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.config.plugins import Plugin, places


def absolute(plugin: Plugin) -> Plugin:
    """The plugin with absolute paths for places; itself where it names none."""
    named = places(plugin.cls)
    if not named:
        return plugin

    def told(name: str, value: Any) -> Any:
        return str(Path(value).absolute()) if name in named and isinstance(value, str) else value

    return Plugin(plugin.entry, {name: told(name, value) for name, value in plugin.options.items()})

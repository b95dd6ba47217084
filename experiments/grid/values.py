"""A cell's values: how they are laid over the base, compared with a condition, and named in a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.config import Raw


def lay(raw: Raw, values: Mapping[str, Any], sources: Mapping[str, str | None] | None = None) -> Raw:
    """``raw`` with a cell's values, dotted key -> value, laid over it in their order; ``sources`` say where they stand.

    As :meth:`Raw.override`, but for a name over a plugin with arguments: in a grid it takes the plugin's place, so
    that ``objective: [rf, shortcut]`` never hands one objective's arguments to another.
    """
    for key, value in values.items():
        over_a_plugin = isinstance(value, str) and isinstance(lookup(raw.data, key), Mapping)
        raw = raw.override({key: {"name": value} if over_a_plugin else value}, (sources or {}).get(key))
    return raw


def lookup(settings: Any, key: str) -> Any:
    """The value at a dotted key, None where there is none. The ``name`` of a bare plugin name is itself."""
    for part in key.split("."):
        if isinstance(settings, str) and part == "name":
            continue
        settings = settings.get(part) if isinstance(settings, Mapping) else None
    return settings


def same(value: Any, wanted: Any) -> bool:
    """Whether a setting is what a condition asks for: plugins match by name, and names ignore case."""
    if isinstance(value, Mapping) and isinstance(wanted, str):
        value = value.get("name")
    if isinstance(value, str) and isinstance(wanted, str):
        return value.casefold() == wanted.casefold()
    return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted


def label(key: str, value: Any) -> str:
    """How a table names a value: a plugin by its name and arguments, anything else as key=value."""
    if isinstance(value, Mapping) and "name" in value:
        arguments = ",".join(label(f".{inner}", item) for inner, item in value.items() if inner != "name")
        return f"{value['name']}({arguments})" if arguments else str(value["name"])
    if isinstance(value, Mapping) and "stage" in value:
        return f"{key}={value['stage']}"
    if isinstance(value, str) and "." not in key:
        return value
    return f"{key.rpartition('.')[2]}={value}"

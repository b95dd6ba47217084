"""A run's options under flat names, as the tables of trackers compare runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from experiments.config import Config
from experiments.config.identity import identity_fields
from experiments.config.plugins import Plugin
from experiments.config.schema import PLUGINS, SETTINGS

Scalar = bool | int | float | str


def flat_options(config: Config) -> dict[str, Scalar]:
    """Every option that is part of the run's identity, defaults included: "objective.k" -> 0.25.

    A plugin stands under its own key by its label ("objective" -> "rf/lognorm(0.00,1.00)"), its options below it; a
    list is one text, and what is null the text "null". Two runs of one grid have the same keys where they have the
    same plugins, so that a table of them has one column for each.
    """
    found: dict[str, Scalar] = {}
    for section in PLUGINS:
        found.update(_flat(section, getattr(config, section)))
    for section in SETTINGS:
        values = getattr(config, section)
        for name in identity_fields(type(values)):
            found.update(_flat(f"{section}.{name}", getattr(values, name)))
    return {**found, "seed": config.seed}


def nested_options(flat: Mapping[str, Scalar]) -> dict[str, Any]:
    """The same as a tree, for trackers that take dots for levels; a plugin's label is its ``name``."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *above, last = key.split(".")
        place = tree
        for part in above:
            place = place.setdefault(part, {})
        if any(other.startswith(f"{key}.") for other in flat):
            place.setdefault(last, {})["name"] = value
        else:
            place[last] = value
    return tree


def _flat(key: str, value: Any) -> Iterator[tuple[str, Scalar]]:
    if isinstance(value, Plugin):
        yield key, value.label
        for name, option in value.options.items():
            yield from _flat(f"{key}.{name}", option)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(f"{key}.{name}", item)
    elif isinstance(value, (list, tuple)):
        yield key, ",".join(_text(item) for item in value)
    else:
        yield key, value if isinstance(value, (bool, int, float, str)) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, Plugin):
        return value.label
    return "null" if value is None else str(value)

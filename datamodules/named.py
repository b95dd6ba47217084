"""A datamodule by the name under which a package has installed it."""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Mapping
from typing import Any

from datamodules.base import DataModule

GROUP = "fewstep.datamodules"


def named(written: Mapping[str, Any]) -> DataModule:
    """The datamodule that a mapping {name, arguments …} of plain data names; names ignore case, lists become tuples.

    Raises:
        ValueError: no installed package has a datamodule of this name, or it does not take these arguments.
    """
    given = {key: _tuples(value) for key, value in written.items() if key != "name"}
    for point in importlib.metadata.entry_points(group=GROUP):
        if point.name.casefold() == written["name"].casefold():
            try:
                return point.load()(**given)
            except TypeError as error:
                raise ValueError(f"the data {written['name']} do not take {given}: {error}") from error
    raise ValueError(f"no data called {written['name']!r} are installed")


def alike(one: DataModule, other: DataModule) -> bool:
    """Whether two datamodules are of one class with equal arguments."""
    return type(one) is type(other) and arguments(one) == arguments(other)


def arguments(data: DataModule) -> dict[str, Any]:
    """What a datamodule was made with, read off its attributes; lists as tuples."""
    return {name: _tuples(getattr(data, name)) for name in inspect.signature(type(data)).parameters}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value

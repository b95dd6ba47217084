"""What was written in a grid file, with the means to take it apart and to collect what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.config import Fault
from experiments.config.faults import unknown
from experiments.config.reading import Marks, where
from experiments.errors import UserError
from experiments.grid.ranges import values

Place = tuple[str, ...]
"""Where a section stands in the file: (), or ("grids", name), or further down."""


class Sheet:
    """A grid file's data and marks, and the faults found so far."""

    def __init__(self, data: Mapping[str, Any], marks: Marks, file: Path):
        self.data, self.marks, self.file, self.faults = data, marks, file, list[Fault]()

    def fault(self, message: str, *key: str) -> None:
        """Take note of what is wrong at a place."""
        self.faults.append(Fault(key, message, where(self.marks, key)))

    def known(self, place: Place, data: Mapping[str, Any], known: Sequence[str], what: str) -> None:
        """Only these keys may stand here."""
        for key in data:
            if key not in known:
                self.fault(unknown(what, key, known), *place, key)

    def take(
        self, place: Place, data: Mapping[str, Any], key: str, default: Any, legal: Callable[[Any], bool], what: str
    ) -> Any:
        """The value of a key; ``default`` where it is missing or not ``what`` it has to be."""
        value = data.get(key)
        if value is None:
            return default
        if legal(value):
            return value
        self.fault(f"{value!r} is not {what}", *place, key)
        return default

    def mapping(self, place: Place, data: Mapping[str, Any], section: str) -> Mapping[str, Any]:
        """A section that is a mapping, {} where it is missing."""
        found = data.get(section) or {}
        if isinstance(found, Mapping):
            return found
        self.fault("this is not a mapping", *place, section)
        return {}

    def values(self, written: Any, *key: str) -> list[Any]:
        """The values of a list or a range."""
        try:
            return values(written)
        except ValueError as error:
            self.fault(str(error), *key)
            return []


def is_name(value: Any) -> bool:
    """Whether a text can name a study, a grid or a class: no slash, no blank, no leading dot."""
    return (
        isinstance(value, str)
        and bool(value)
        and not any(c.isspace() or c in "/\\" for c in value)
        and not value.startswith(".")
    )


def is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def is_seed(value: Any) -> bool:
    return type(value) is int and value >= 0


def are_mappings(value: list[Any]) -> bool:
    return all(isinstance(item, Mapping) and item for item in value)


def text_of(file: Path) -> str:
    """A file's text; a :class:`UserError` where there is none."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"there is no file {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}") from None

"""A configuration as it was written: a file's keys, overrides laid over them, and where each came from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.config.faults import ConfigError, Fault, Key
from experiments.config.reading import Marks, interpolation_fault, read_text, where
from experiments.errors import UserError
from experiments.registry.names import scalar

SHIPPED = Path(__file__).resolve().parents[1] / "configs"
"""Folder of the configurations that come with fewstep."""


@dataclass(frozen=True)
class Raw:
    """What the user wrote: plain nested data, and the place where each key was written. Never changed in place."""

    data: Mapping[str, Any] = field(default_factory=dict)
    marks: Marks = field(default_factory=dict)

    def where(self, key: Key) -> str | None:
        """File and line, or the override, that set this place or the nearest one above it."""
        return where(self.marks, key)

    def override(self, assignments: Mapping[str, Any], source: str | None = None) -> Raw:
        """This configuration with ``{"objective.k": 0.25}`` laid over it, each assignment as :func:`assign` reads it.

        Args:
            assignments: dotted key -> any value that a YAML file could hold there.
            source: told as the place of these values ("grid.yaml:7"); by default the assignment itself.
        """
        data, marks = dict(self.data), dict(self.marks)
        for dotted, value in assignments.items():
            key = _split_key(dotted)
            data = assign(data, key, value)
            marks = {place: mark for place, mark in marks.items() if place[: len(key)] != key or isinstance(value, str)}
            told = source or f"override {dotted}={value}"
            marks[key] = told
            marks.pop((*key, "name"), None) if isinstance(value, str) else None
        return Raw(data, marks)

    def interpolated(self, defaults: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The data with every ``${…}`` followed; what is not written is looked up in ``defaults()``.

        Raises:
            ConfigError: an interpolation leads nowhere.
        """
        if not any("${" in text for text in _strings(self.data)):
            return dict(self.data)
        try:
            merged = OmegaConf.merge(OmegaConf.create(dict(defaults())), OmegaConf.create(dict(self.data)))
            followed = OmegaConf.to_container(merged, resolve=True)
        except OmegaConfBaseException as error:
            raise ConfigError([interpolation_fault(error, self.marks)]) from None
        assert isinstance(followed, dict)
        return {str(key): value for key, value in followed.items() if key in self.data}


def read(file: Path | str | None, overrides: Sequence[str] = ()) -> Raw:
    """Read a YAML file, or a shipped one by its name, or start from nothing; lay ``key=value`` overrides over it.

    Raises:
        UserError: there is no such file.
        ConfigError: YAML that cannot be read, with file and line; an override that is none.
    """
    found = _find(Path(file)) if file is not None else None
    return lay_over(Raw(*read_text(_file_text(found), str(found))) if found is not None else Raw(), overrides)


def lay_over(raw: Raw, overrides: Sequence[str]) -> Raw:
    """``raw`` with ``key=value`` overrides laid over it, the last one uppermost.

    Raises:
        ConfigError: those that are none, all at once.
    """
    faults: list[Fault] = []
    for text in overrides:
        try:
            raw = raw.override(dict([_split_override(text)]), f"override {text}")
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    return raw


def parse(data: Mapping[str, Any], source: str | None = None) -> Raw:
    """The same from plain nested data; every fault in it is told to come from ``source``."""
    copied = copy.deepcopy(dict(data))
    return Raw(copied, {(key,): source for key in copied} if source else {})


def assign(data: Mapping[str, Any], key: Key, value: Any) -> dict[str, Any]:
    """``data`` with ``value`` laid at ``key``; the argument is left as it is.

    A plugin may stand as a name or as a mapping with a ``name``, so a name laid over a mapping sets its ``name``, and
    a key laid under a name makes it a mapping first. A mapping is merged into one that is there, unless it brings a
    ``name`` of its own: then it takes the other's place.
    """
    first, rest = key[0], key[1:]
    current = data.get(first)
    if rest:
        inner = {"name": current} if isinstance(current, str) else current if isinstance(current, Mapping) else {}
        return {**data, first: assign(inner, rest, value)}
    if isinstance(value, str) and isinstance(current, Mapping):
        return {**data, first: {**current, "name": value}}
    if isinstance(value, Mapping) and "name" not in value and isinstance(current, (Mapping, str)):
        merged: dict[str, Any] = {"name": current} if isinstance(current, str) else dict(current)
        for name, item in value.items():
            merged = assign(merged, (str(name),), item)
        return {**data, first: merged}
    return {**data, first: copy.deepcopy(value)}


def _split_key(dotted: str) -> Key:
    key = tuple(dotted.split("."))
    if not all(part.strip() == part and part for part in key):
        raise ConfigError([Fault((), f"{dotted!r} is no key; keys look like trainer.max_steps")])
    return key


def _split_override(text: str) -> tuple[str, Any]:
    dotted, equals, value = text.partition("=")
    if not equals or not dotted:
        raise ConfigError([Fault((), f"{text!r} is no override; write key=value, such as trainer.max_steps=100")])
    if not value.strip():
        raise ConfigError([Fault((dotted,), f"{text!r} gives no value; write null to say none")])
    try:
        return dotted, scalar(value)
    except (yaml.YAMLError, OmegaConfBaseException):
        raise ConfigError([Fault((dotted,), f"the value {value!r} cannot be read as YAML; quote it")]) from None


def _find(file: Path) -> Path:
    shipped = SHIPPED / f"{file}.yaml"
    return shipped if not file.exists() and shipped.is_file() else file


def _file_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        beside = sorted(path.name for path in file.parent.glob("*.yaml"))[:8] if file.parent.is_dir() else []
        shipped = sorted(path.stem for path in SHIPPED.glob("*.yaml"))
        told = f"; beside it: {', '.join(beside)}" if beside else ""
        raise UserError(f"there is no file {file}{told}; shipped: {', '.join(shipped)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}") from None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)

"""The resolved configuration: plugins chosen, settings checked, one identity."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.config import averages
from experiments.config.checks import cross_faults
from experiments.config.faults import ConfigError, Fault, Key, Refused, unknown
from experiments.config.identity import digest, run_identity, slug
from experiments.config.plugins import Plugin, plain, resolve_plugin
from experiments.config.raw import Raw, read
from experiments.config.schema import EMA, KEYS, PLUGINS, SETTINGS, VALUES, Evaluation, Trainer
from experiments.config.values import conform, hints


@dataclass(frozen=True)
class Config:
    """A whole run, checked. Two configurations with equal ``identity()`` are the same run."""

    objective: Plugin
    backbone: Plugin
    data: Plugin
    optimizer: Plugin
    schedule: Plugin
    ema: EMA
    trainer: Trainer
    evaluation: Evaluation
    seed: int = 0
    name: str | None = None

    def plain(self) -> dict[str, Any]:
        """The complete mapping that a configuration file holds; it reads back to the same identity."""
        found: dict[str, Any] = {section: getattr(self, section).plain() for section in PLUGINS}
        for section in SETTINGS:
            found[section] = plain(dataclasses.asdict(getattr(self, section)))
        return {**found, "seed": self.seed, "name": self.name}

    def identity(self) -> dict[str, Any]:
        """Every field that is part of the run's identity; the rest is where and how it runs, and what is measured."""
        plugins = {section: getattr(self, section) for section in PLUGINS}
        return run_identity(plugins, {section: getattr(self, section) for section in SETTINGS}, self.seed)

    @cached_property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of the identity."""
        return digest(self.identity())

    @property
    def run_name(self) -> str:
        """The name of the run's folder: what was trained on what, or the given name, and the hash."""
        words = self.name or "-".join(slug(part.label) for part in (self.objective, self.backbone, self.data))
        return f"{words}-{self.hash}"


def load(path: Path | str) -> Config:
    """The configuration in a YAML file.

    Raises:
        UserError, ConfigError: the file or what stands in it is wrong.
    """
    return resolve(read(path))


def resolve(raw: Raw) -> Config:
    """Check everything and choose the plugins; imports the classes that are named.

    Raises:
        ConfigError: all faults at once, each with its place, what was given, what is allowed, and file and line.
    """
    data = raw.interpolated(defaults)
    faults: list[Fault] = [Fault((key,), unknown("key", key, KEYS)) for key in data if key not in KEYS]
    found: dict[str, Any] = {}
    for section, (group, default) in PLUGINS.items():
        written = data.get(section, default)
        if isinstance(written, Mapping) and "name" not in written:
            written = {"name": default, **written}
        try:
            found[section] = resolve_plugin(group, written)
        except ConfigError as error:
            faults += [fault.under((section,)) for fault in error.faults]
    found |= _sections(data, faults)
    if not faults:
        config = Config(**found)
        faults += cross_faults(config)
        if not faults:
            return config
    raise ConfigError(_placed(faults, raw))


def sections(raw: Raw) -> dict[str, Any]:
    """What is no plugin: the ``ema``, ``trainer`` and ``evaluation`` sections, ``seed`` and ``name``. Imports no torch.

    Raises:
        ConfigError: faults in these sections.
    """
    faults: list[Fault] = []
    found = _sections(raw.interpolated(defaults), faults)
    if faults:
        raise ConfigError(_placed(faults, raw))
    return found


def _placed(faults: list[Fault], raw: Raw) -> list[Fault]:
    return [dataclasses.replace(fault, where=fault.where or raw.where(fault.key)) for fault in faults]


def defaults() -> dict[str, Any]:
    """Every default of the configuration as plain data; an interpolation may lead here."""
    found: dict[str, Any] = {section: {"name": default} for section, (_, default) in PLUGINS.items()}
    for section, schema in SETTINGS.items():
        found[section] = plain(dataclasses.asdict(schema()))
    return {**found, **{key: default for key, (_, default) in VALUES.items()}}


def _sections(data: Mapping[str, Any], faults: list[Fault]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for section, schema in SETTINGS.items():
        found[section] = _settings(schema, data.get(section), (section,), faults)
    for key, (annotation, default) in VALUES.items():
        try:
            found[key] = conform(data.get(key, default), annotation, (key,), faults, _no_plugin)
        except Refused:
            continue
    if not averages.names(found["ema"]) and "weights" not in (data.get("evaluation") or {}):
        # Without an average there is none to evaluate; only a configuration that asks for it by name is refused.
        found["evaluation"] = dataclasses.replace(found["evaluation"], weights=("raw",))
    return found


def _settings(schema: type[Any], written: Any, place: Key, faults: list[Fault]) -> Any:
    """A section of settings; a field that does not fit adds a fault and keeps its default."""
    if written is None:
        return schema()
    if not isinstance(written, Mapping):
        faults.append(Fault(place, f"expected a mapping of settings, given {written!r}"))
        return schema()
    annotations, chosen = hints(schema), {}
    for key, value in written.items():
        if key not in annotations:
            faults.append(Fault((*place, key), unknown("key", key, list(annotations))))
            continue
        try:
            chosen[key] = conform(value, annotations[key], (*place, key), faults, _no_plugin)
        except Refused:
            continue
    return schema(**chosen)


def _no_plugin(cls: type[Any], value: Any, key: Key, faults: list[Fault]) -> Any:
    raise AssertionError(f"{'.'.join(key)} takes no plugin ({cls}, {value!r}, {faults})")

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
from experiments.config.run_weights import RunPairs, RunWeights, read_run_weights
from experiments.config.schema import EMA, KEYS, PLUGINS, RUNS, SETTINGS, VALUES, Evaluation, Trainer
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
    origin: str | None = None
    teacher: RunWeights | None = None
    start: RunWeights | None = None
    pairs: RunPairs | None = None

    def plain(self) -> dict[str, Any]:
        """The complete mapping that a configuration file holds; it reads back to the same identity."""
        found: dict[str, Any] = {section: getattr(self, section).plain() for section in PLUGINS}
        for section in SETTINGS:
            found[section] = plain(dataclasses.asdict(getattr(self, section)))
        built_on = {key: run.plain() if (run := getattr(self, key)) else None for key in RUNS}
        return {**found, "seed": self.seed, "name": self.name, "origin": self.origin, **built_on}

    def identity(self) -> dict[str, Any]:
        """Every field that is part of the run's identity; the rest is where and how it runs, and what is measured."""
        return run_identity({key: getattr(self, key) for key in KEYS})

    @cached_property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of the identity."""
        return digest(self.identity())

    @property
    def run_name(self) -> str:
        """The name of the run's folder: what was trained on what, or the given name, and the hash."""
        return f"{self.run_words}-{self.hash}"

    @property
    def run_words(self) -> str:
        """The run's name without its hash."""
        return self.name or "-".join(slug(part.label) for part in (self.objective, self.backbone, self.data))


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
    faults: list[Fault] = []
    found = {section: resolve_section(section, data, faults) for section in KEYS}
    faults += [Fault((key,), unknown("key", key, KEYS)) for key in data if key not in KEYS]
    if not faults:
        config = configuration(found, data)
        faults += cross_faults(config)
        if not faults:
            return config
    raise ConfigError(placed(faults, raw))


def resolve_section(section: str, data: Mapping[str, Any], faults: list[Fault]) -> Any:
    """One section of a configuration by itself: a plugin, settings or a value; faults are added to ``faults``."""
    if section in SETTINGS:
        return _settings(SETTINGS[section], data.get(section), (section,), faults)
    if section in PLUGINS:
        group, default = PLUGINS[section]
        written = data.get(section, default)
        if isinstance(written, Mapping) and "name" not in written:
            written = {"name": default, **written}
        try:
            return resolve_plugin(group, written)
        except ConfigError as error:
            faults += [fault.under((section,)) for fault in error.faults]
            return None
    if section in RUNS:
        return read_run_weights(data.get(section), (section,), faults, RUNS[section])
    annotation, default = VALUES[section]
    try:
        return conform(data.get(section, default), annotation, (section,), faults, _no_plugin)
    except Refused:
        return default


def configuration(found: Mapping[str, Any], written: Mapping[str, Any]) -> Config:
    """The configuration of resolved sections."""
    return Config(**{**found, "evaluation": evaluated(found["ema"], found["evaluation"], written.get("evaluation"))})


def evaluated(ema: EMA, evaluation: Evaluation, written: Any) -> Evaluation:
    """What is evaluated. Without an average there is none; only a configuration that asks for it by name is refused."""
    if averages.names(ema) or "weights" in (written or {}):
        return evaluation
    return dataclasses.replace(evaluation, weights=("raw",))


def sections(raw: Raw) -> dict[str, Any]:
    """What is no plugin: sections of settings, ``seed``, ``name`` and ``origin``. Imports no torch.

    Raises:
        ConfigError: faults in these sections.
    """
    faults: list[Fault] = []
    data = raw.interpolated(defaults)
    found = {section: resolve_section(section, data, faults) for section in (*SETTINGS, *VALUES)}
    if faults:
        raise ConfigError(placed(faults, raw))
    return {**found, "evaluation": evaluated(found["ema"], found["evaluation"], data.get("evaluation"))}


def placed(faults: list[Fault], raw: Raw) -> list[Fault]:
    """The faults, each with where it was written."""
    return [dataclasses.replace(fault, where=fault.where or raw.where(fault.key)) for fault in faults]


def defaults() -> dict[str, Any]:
    """Every default of the configuration as plain data; an interpolation may lead here."""
    found: dict[str, Any] = {section: {"name": default} for section, (_, default) in PLUGINS.items()}
    for section, schema in SETTINGS.items():
        found[section] = plain(dataclasses.asdict(schema()))
    return {**found, **{key: default for key, (_, default) in VALUES.items()}, **dict.fromkeys(RUNS)}


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

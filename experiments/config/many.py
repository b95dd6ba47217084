"""Many configurations that share most of their sections: each distinct section is read once, and each distinct
combination of sections that a check looks at is checked once.

Equal to :func:`experiments.config.resolve` of each by itself, for configurations without interpolations (these may
lead from any section into any other).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.config.checks import CHECKS
from experiments.config.config import Config, evaluated, placed, resolve_section
from experiments.config.faults import ConfigError, Fault, unknown
from experiments.config.identity import canonical, digest_of, section_identity
from experiments.config.raw import Raw
from experiments.config.schema import KEYS

SEED = "seed"


@dataclass(frozen=True, eq=False)
class Read:
    """One section: what was written, what it means, and what is wrong with it."""

    section: str
    raw: Raw
    value: Any
    faults: tuple[Fault, ...]


@dataclass(frozen=True, eq=False)
class Shared:
    """Configurations that differ in the seed alone: their values, their parts of the identity, what is wrong."""

    values: dict[str, Any]
    texts: dict[str, str]
    faults: tuple[Fault, ...]


class Resolver:
    """Resolves configurations that are given as sections; a section is known by its identity."""

    def __init__(self) -> None:
        self._read: dict[int, Read] = {}
        self._shared: dict[tuple[int, ...], Shared] = {}
        self._defaults: dict[str, Read] = {}
        self._checked: dict[tuple[Any, ...], tuple[Fault, ...]] = {}
        self._texts: dict[int, tuple[Any, str | None]] = {}
        self._evaluated: dict[tuple[int, int], Any] = {}

    def resolve(self, sections: Mapping[str, Raw]) -> tuple[Config, str]:
        """The configuration of these sections, and its hash.

        Args:
            sections: of those that are written, each with the data and marks of its key alone. They have to outlive
                the resolver.

        Raises:
            ConfigError: all faults at once.
        """
        seed = self._section(SEED, sections.get(SEED))
        place = tuple([id(raw) for key, raw in sections.items() if key != SEED])
        shared = self._shared.get(place)
        if shared is None:
            shared = self._all_but_seed(sections, seed)
            if not seed.faults:
                self._shared[place] = shared
        if shared.faults or seed.faults:
            raise ConfigError([*shared.faults, *seed.faults])
        text = self._text(SEED, seed.value)
        texts = shared.texts if text is None else {**shared.texts, SEED: text}
        return Config(**shared.values, seed=seed.value), digest_of(texts)

    def _all_but_seed(self, sections: Mapping[str, Raw], seed: Read) -> Shared:
        """What the seeds of a configuration share: no check looks at the seed."""
        parts = {key: self._section(key, sections.get(key)) for key in KEYS if key != SEED}
        faults = [fault for part in parts.values() for fault in part.faults]
        for key, raw in sections.items():
            if key not in KEYS:
                faults += placed([Fault((key,), unknown("key", key, KEYS))], raw)
        if faults or seed.faults:
            return Shared({}, {}, tuple(faults))
        values = {key: part.value for key, part in parts.items()}
        values["evaluation"] = self._evaluation(parts)
        config = Config(**values, seed=seed.value)
        for check, keys in CHECKS.items():
            place = (check, *[id(values[key]) for key in keys])
            if place not in self._checked:
                self._checked[place] = tuple(check(config))
            for fault in self._checked[place]:
                part = parts.get(fault.key[0])
                faults += placed([fault], part.raw if part else Raw())
        texts = {key: text for key, value in values.items() if (text := self._text(key, value)) is not None}
        return Shared(values, texts, tuple(faults))

    def _section(self, key: str, raw: Raw | None) -> Read:
        if raw is None:
            if key not in self._defaults:
                self._defaults[key] = _read(key, Raw())
            return self._defaults[key]
        found = self._read.get(id(raw))
        if found is None:
            found = self._read[id(raw)] = _read(key, raw)
        return found

    def _evaluation(self, parts: Mapping[str, Read]) -> Any:
        ema, evaluation = parts["ema"], parts["evaluation"]
        place = (id(ema), id(evaluation))
        if place not in self._evaluated:
            written = evaluation.raw.data.get("evaluation")
            self._evaluated[place] = evaluated(ema.value, evaluation.value, written)
        return self._evaluated[place]

    def _text(self, key: str, value: Any) -> str | None:
        """A section's part of the identity as canonical JSON; None where it has none."""
        found = self._texts.get(id(value))
        if found is None or found[0] is not value:
            own = section_identity(key, value)
            found = self._texts[id(value)] = (value, None if own is None else canonical(own))
        return found[1]


def _read(key: str, raw: Raw) -> Read:
    faults: list[Fault] = []
    value = resolve_section(key, raw.data, faults)
    return Read(key, raw, value, tuple(placed(faults, raw)))

"""A base with the values of many points laid over it, one section at a time: each distinct section is laid once.

The cells of a grid differ in few sections, and these in few ways: 10,000 cells of five axes have some dozens of
distinct sections. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.config import Raw
from experiments.grid.conditions import Condition, holds, seen
from experiments.grid.values import lay

if TYPE_CHECKING:
    from experiments.grid.blocks import Combination


@dataclass(frozen=True, eq=False)
class Layer:
    """One section of a configuration, laid; ``values`` are what was laid over the base's."""

    section: str
    raw: Raw
    values: tuple[Any, ...]


class Layers:
    """Lays points over a base. A section is told apart by its keys and by the identity of their values."""

    def __init__(self, base: Raw):
        self.base = base
        self._sections = {
            section: Raw({section: value}, {key: mark for key, mark in base.marks.items() if key[0] == section})
            for section, value in base.data.items()
        }
        self._unlaid = {section: Layer(section, raw, ()) for section, raw in self._sections.items()}
        self._laid: dict[tuple[Any, ...], Layer] = {}
        self._section_of: dict[str, str] = {}
        self._seen: dict[tuple[int, str], Any] = {}
        self._held: dict[tuple[int, str, int], bool] = {}

    def of(self, point: Combination) -> dict[str, Layer]:
        """The sections of a point's configuration that are written at all."""
        keys: dict[str, list[Any]] = {}
        for key, value in point.values.items():
            section = self._section_of.get(key) or self._section_of.setdefault(key, key.partition(".")[0])
            keys.setdefault(section, []).extend((key, id(value)))
        laid = dict(self._unlaid)
        for section, told in keys.items():
            place = tuple(told)
            laid[section] = self._laid.get(place) or self._lay(section, place, point)
        return laid

    def _lay(self, section: str, place: tuple[Any, ...], point: Combination) -> Layer:
        values = {key: point.values[key] for key in place[::2]}
        raw = lay(self._sections.get(section, Raw()), values, point.sources)
        self._laid[place] = Layer(section, raw, tuple(values.values()))  # holding the values keeps their ids theirs
        return self._laid[place]

    def settings(self, point: Combination) -> dict[str, Any]:
        """A point's configuration as written."""
        return {section: layer.raw.data[section] for section, layer in self.of(point).items()}

    def value(self, point: Combination, key: str) -> Any:
        """What a point's configuration says at a dotted key, as conditions see it."""
        layer = self.of(point).get(key.partition(".")[0])
        place = (id(layer), key)
        if place not in self._seen:
            self._seen[place] = seen(layer.raw.data if layer else {}, key)
        return self._seen[place]

    def distinct(self, points: Iterable[Combination], key: str) -> list[Any]:
        """The different values that points have at a key."""
        return list({id(value): value for value in (self.value(point, key) for point in points)}.values())

    def matches(self, point: Combination, condition: Condition) -> bool:
        """Whether all of a condition holds for a point."""
        layers = self.of(point)
        for key, wanted in condition.items():
            layer = layers.get(key.partition(".")[0])
            place = (id(layer), key, id(wanted))
            if place not in self._held:
                self._held[place] = holds(key, seen(layer.raw.data if layer else {}, key), wanted)
            if not self._held[place]:
                return False
        return True

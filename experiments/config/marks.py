"""Marks on annotations: a number's range, a plugin's name, a text's form, a field of a run's identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Range:
    """Allowed numbers; a bound that is None is not there."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies within."""
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        bounds = (("≥", self.at_least), (">", self.above), ("≤", self.at_most), ("<", self.below))
        return " and ".join(f"{sign} {bound}" for sign, bound in bounds if bound is not None)


@dataclass(frozen=True)
class Plugins:
    """The text is a name of a plugin of this group."""

    group: str


@dataclass(frozen=True)
class Identity:
    """The field is part of a run's identity: another value is another run.

    Attributes:
        always: also at its default. Otherwise the default says nothing, as an option of a plugin does.
    """

    always: bool = True


@dataclass(frozen=True)
class Pattern:
    """The text matches this regular expression as a whole; ``told`` says in words what it may be."""

    expression: str
    told: str


IDENTITY: Final = Identity()
ADDED: Final = Identity(always=False)
"""For a field that came later and whose default is what was done before: runs from before keep their hashes."""

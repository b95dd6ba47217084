"""What is wrong with a configuration: every fault with its place, told all at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from experiments.errors import UserError
from experiments.registry.names import nearest

Key = tuple[str, ...]
"""A place in a configuration: ("trainer", "max_steps")."""


@dataclass(frozen=True)
class Fault:
    """One fault: the place in the configuration, what is wrong there, and where that was written."""

    key: Key
    message: str
    where: str | None = None

    def __str__(self) -> str:
        place = ".".join(self.key)
        return (f"{place}: " if place else "") + self.message + (f" [{self.where}]" if self.where else "")

    def under(self, key: Key) -> Fault:
        """The same fault, seen from further up."""
        return replace(self, key=(*key, *self.key))


class ConfigError(UserError):
    """The configuration is wrong; ``faults`` holds every fault that was found."""

    def __init__(self, faults: Iterable[Fault]):
        self.faults: tuple[Fault, ...] = tuple(dict.fromkeys(faults))
        lines = [str(fault) for fault in self.faults]
        super().__init__(
            lines[0] if len(lines) == 1 else f"{len(lines)} faults in the configuration:\n  " + "\n  ".join(lines)
        )


class Refused(Exception):
    """Raised inside validation where a value cannot be used; the faults have been collected already."""


def unknown(what: str, given: str, allowed: Sequence[str]) -> str:
    """ "no such key 'clipp'; did you mean 'clip'? Allowed: clip, compile" """
    near = nearest(given, allowed)
    return (
        f"no such {what} {given!r}"
        + (f"; did you mean {near!r}?" if near else "." if allowed else ": there are none here")
        + (f" Allowed: {', '.join(allowed)}" if allowed else "")
    )

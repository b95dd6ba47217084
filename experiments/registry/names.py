"""What a written name means: a plugin, a preset of one, a call, or a name in the field's own notation."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from experiments.registry.entries import Entry, entries, singular

CALL = re.compile(r"\s*(?P<name>[^()]+?)\s*\((?P<arguments>.*)\)\s*", re.DOTALL)
KEYWORD = re.compile(r"\s*(?P<key>[A-Za-z_]\w*)\s*=(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True)
class Resolved:
    """A name understood: its plugin, the arguments it stands for, and those that are known by position alone.

    ``arguments`` may hold plain data or, from a class's own notation, finished plugin objects.
    """

    entry: Entry
    arguments: dict[str, Any] = field(default_factory=dict)
    positional: tuple[str, ...] = ()


def nearest(text: str, allowed: Iterable[str]) -> str | None:
    """The allowed name closest to ``text`` whatever the case, or None where none is close."""
    names = {name.casefold(): name for name in allowed}
    found = difflib.get_close_matches(text.casefold(), names, n=1, cutoff=0.6)
    return names[found[0]] if found else None


def known_names(group: str) -> list[str]:
    """Every plain name of a group: plugins first, then the presets of each."""
    found = entries(group)
    return [entry.name for entry in found.values()] + [name for entry in found.values() for name in entry.presets]


def notation_names(group: str) -> list[str]:
    """Names in the notations that classes of a group read, where a class lists them ("rf/lognorm(m,s)")."""
    readers = (entry.load() for entry in entries(group).values() if entry.defines("from_notation"))
    return [name for reader in readers for name in getattr(reader, "notation_names", ())]


def resolve_name(group: str, text: str) -> Resolved:
    """Read a name as written in a configuration.

    In this order: a plugin's name, a preset of any class of the group, a call such as ``lognorm(0,1)``, and what a
    class itself reads by its ``from_notation``. Names ignore case.

    Raises:
        ValueError: nothing of this group is called so (with the nearest name and all known ones), or a class knows
            the notation and refuses the values.
    """
    resolved = _plain_name(group, text) or _call(group, text) or _notation(group, text)
    if resolved is not None:
        return resolved
    names = known_names(group) + notation_names(group)
    near = nearest(text.partition("(")[0].strip(), names)
    torn = text.count("(") != text.count(")")
    raise ValueError(
        f"no {singular(group)} is called {text!r}"
        + (f"; did you mean {near!r}?" if near else ".")
        + (" (its brackets do not match: inside [ ] YAML splits at commas, so quote such a name)" if torn else "")
        + f" Known: {', '.join(names) if names else 'none'}"
    )


def _plain_name(group: str, text: str) -> Resolved | None:
    wanted, found = text.strip().casefold(), entries(group)
    if wanted in found:
        return Resolved(found[wanted])
    for entry in found.values():
        for name, arguments in entry.presets.items():
            if name.casefold() == wanted:
                return Resolved(entry, dict(arguments))
    return None


def _call(group: str, text: str) -> Resolved | None:
    match = CALL.fullmatch(text)
    base = _plain_name(group, match["name"]) if match else None
    if match is None or base is None:
        return None
    positional: list[str] = []
    named: dict[str, Any] = dict(base.arguments)
    for part in split_arguments(match["arguments"]):
        keyword = KEYWORD.fullmatch(part)
        if keyword is not None:
            named[keyword["key"]] = scalar(keyword["value"])
        elif len(named) > len(base.arguments):
            raise ValueError(f"in {text!r} the value {part.strip()!r} without a name follows one with a name")
        else:
            positional.append(part.strip())
    return Resolved(base.entry, named, tuple(positional))


def _notation(group: str, text: str) -> Resolved | None:
    for entry in entries(group).values():
        if not entry.defines("from_notation"):
            continue
        arguments = entry.load().from_notation(text)
        if arguments is not None:
            return Resolved(entry, dict(arguments))
    return None


def split_arguments(text: str) -> list[str]:
    """Split at the commas outside any bracket: "lognorm(0,1), uniform" gives two parts.

    Raises:
        ValueError: brackets do not match, or a part is empty.
    """
    parts, depth, start = [], 0, 0
    for index, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            break
        if character == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    if depth != 0:
        raise ValueError(f"the brackets in {text!r} do not match")
    if not text.strip():
        return []
    if any(not part.strip() for part in parts):
        raise ValueError(f"an argument is empty in {text!r}")
    return parts


def scalar(text: str) -> Any:
    """A value written in a call or an override, read as YAML reads it: numbers, true, null, lists, else text."""
    from omegaconf import OmegaConf

    value = OmegaConf.to_container(OmegaConf.create(f"value: {text.strip()}"), resolve=False)
    assert isinstance(value, dict)
    return value["value"]

"""Conditions on a cell: which cells are left out, kept, or asked for resources of their own. Imports no torch.

::

    {objective: shortcut, trainer.batch_size: [64, 128]}       # all keys have to fit; a list means any of its values
    {trainer.max_steps: {">=": 1000, "<": 5000}}               # <, <=, >, >=, != ; all of them have to hold
    {backbone: DiT, backbone.depth: {">": 12}}                 # a plugin's name fits its presets and calls too
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from experiments.config.config import defaults
from experiments.config.faults import unknown
from experiments.config.schema import PLUGINS
from experiments.grid.values import lookup, same
from experiments.registry import known_names, resolve_name
from experiments.registry.names import CALL

Condition = Mapping[str, Any]
"""Dotted key -> what is asked of its value."""

COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
SIGNS = (*COMPARISONS, "!=")


def seen(settings: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key, as a condition sees it: what was written, else what a preset, a plugin's call or the
    defaults of the settings say; None where none of these says it.
    """
    value = lookup(settings, key)
    section, _, rest = key.partition(".")
    if value is None and rest and section in PLUGINS and rest != "name":
        name = lookup(settings, f"{section}.name")
        value = lookup(_arguments(PLUGINS[section][0], name), rest) if isinstance(name, str) else None
    return lookup(_defaults(), key) if value is None else value


def holds(key: str, value: Any, wanted: Any) -> bool:
    """Whether the value at ``key`` is what a condition asks for there."""
    if isinstance(wanted, list):
        return any(holds(key, value, one) for one in wanted)
    if is_comparison(wanted):
        return all(_compares(key, value, sign, operand) for sign, operand in wanted.items())
    return same(value, wanted) or _is_plugin(key, value, wanted)


def is_comparison(wanted: Any) -> bool:
    """Whether a condition compares rather than names a value."""
    return isinstance(wanted, Mapping) and bool(wanted) and all(sign in SIGNS for sign in wanted)


def faults(condition: Condition) -> Iterator[tuple[str, str]]:
    """What is wrong with a condition as it was written: key and message."""
    for key, wanted in condition.items():
        for one in wanted if isinstance(wanted, list) else [wanted]:
            if not isinstance(one, Mapping):
                continue
            for sign, operand in one.items():
                if sign not in SIGNS and not sign.replace("_", "").isalnum():
                    yield key, unknown("comparison", sign, SIGNS)
                elif sign in COMPARISONS and not _is_number(operand):
                    yield key, f"{sign} compares with a number, given {operand!r}"


def _compares(key: str, value: Any, sign: str, operand: Any) -> bool:
    if sign == "!=":
        return value is not None and not holds(key, value, operand)
    return _is_number(value) and COMPARISONS[sign](float(value), float(operand))


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _is_plugin(key: str, value: Any, wanted: Any) -> bool:
    """Whether ``wanted`` names the plugin of which ``value`` is a preset or a call: "dit" fits "DiT-S/2"."""
    name = value.get("name") if isinstance(value, Mapping) else value
    section = key.removesuffix(".name")
    if section not in PLUGINS or not isinstance(name, str) or not isinstance(wanted, str):
        return False
    return wanted.casefold() in _names(PLUGINS[section][0], name)


@functools.cache
def _names(group: str, text: str) -> frozenset[str]:
    """Every name that fits a plugin as it was written: what is called, and the plugin whose preset that is."""
    match = CALL.fullmatch(text)
    called = match["name"] if match else text
    names = {text.casefold(), called.casefold()}
    if called.casefold() in {name.casefold() for name in known_names(group)}:
        names.add(resolve_name(group, called).entry.name.casefold())
    return frozenset(names)


@functools.cache
def _arguments(group: str, text: str) -> Mapping[str, Any]:
    """The arguments that a preset or a call stands for, as far as they are said without the plugin's class."""
    match = CALL.fullmatch(text)
    if (match["name"] if match else text).casefold() not in {name.casefold() for name in known_names(group)}:
        return {}
    try:
        return resolve_name(group, text).arguments
    except ValueError:
        return {}


@functools.cache
def _defaults() -> Mapping[str, Any]:
    return defaults()

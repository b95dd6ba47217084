"""Does a value fit its type? Plain data against annotations, with conversions that lose nothing.

A float that is whole is an int (``1e3``), an int is a float, "1,4,128" is a list where a list is expected and a
single value is a list of one. Nothing else is converted: true is no number, and 0.5 no count.
"""

from __future__ import annotations

import collections.abc
import functools
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from experiments.config.faults import Fault, Key, Refused
from experiments.config.marks import Pattern, Plugins, Range
from experiments.registry import group_of_class, resolve_name, singular
from experiments.registry.names import nearest, scalar, split_arguments

Nested = Callable[[type[Any], Any, Key, list[Fault]], Any]
"""Reads a nested plugin: (the class that it has to be, the value, its place, the faults so far) -> the plugin."""

SEQUENCES = (list, tuple, collections.abc.Sequence, collections.abc.Iterable)
SCALARS = (bool, int, float, str, Path)
MAPPINGS = (dict, collections.abc.Mapping)


def conform(value: Any, annotation: Any, key: Key, faults: list[Fault], nested: Nested) -> Any:
    """``value`` as its annotation has it.

    Raises:
        Refused: it does not fit; what is wrong has been added to ``faults``.
    """
    if value == "???" and isinstance(value, str):
        return _refuse(key, f"a value is required here: {describe(annotation)}", faults)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any or isinstance(annotation, TypeVar):
        return value
    if origin is Annotated and arguments[0] in SCALARS:
        return _marked(_scalar(value, arguments[0], key, faults, told=annotation), annotation, key, faults)
    if origin is Annotated:
        return _marked(conform(value, arguments[0], key, faults, nested), annotation, key, faults)
    if origin in (Union, types.UnionType):
        return _union(value, annotation, key, faults, nested)
    if origin is Literal:
        return _literal(value, arguments, key, faults)
    if origin in SEQUENCES or annotation in SEQUENCES:
        return _sequence(value, origin or annotation, arguments, key, faults, nested)
    if origin in MAPPINGS or annotation in MAPPINGS:
        if not isinstance(value, Mapping):
            return _mismatch(value, annotation, key, faults)
        item = arguments[1] if len(arguments) == 2 else Any
        return {str(name): conform(part, item, (*key, str(name)), faults, nested) for name, part in value.items()}
    if isinstance(annotation, type) and group_of_class(annotation) is not None:
        return nested(annotation, value, key, faults)
    return _scalar(value, annotation, key, faults)


def _scalar(value: Any, annotation: Any, key: Key, faults: list[Fault], *, told: Any = None) -> Any:
    number = _number(value)
    if annotation is bool and isinstance(value, bool):
        return value
    if annotation is int and number is not None and number == math.floor(number):
        return int(number)
    if annotation is float and number is not None:
        return float(number) + 0.0  # -0.0 and 0.0 are one value, and have to be one text
    if annotation is str and isinstance(value, str):
        return value
    if annotation is Path and isinstance(value, (str, Path)):
        return str(value)
    if annotation in (None, types.NoneType) and value is None:
        return None
    return _mismatch(value, told or annotation, key, faults)


def _number(value: Any) -> int | float | None:
    """A finite number, or a text that is one ("1e-3" is text to YAML 1.1)."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value


def _sequence(value: Any, kind: Any, items: tuple[Any, ...], key: Key, faults: list[Fault], nested: Nested) -> Any:
    if isinstance(value, str):
        try:
            parts: list[Any] = [scalar(part) for part in split_arguments(value)]
        except ValueError as error:
            return _refuse(key, str(error), faults)
    elif isinstance(value, (list, tuple)):
        parts = list(value)
    elif value is None or isinstance(value, Mapping):
        return _refuse(key, f"given {show(value)}; expected a list", faults)
    else:
        parts = [value]
    fixed = kind is tuple and items and items[-1] is not Ellipsis
    if fixed and len(items) != len(parts):
        return _refuse(key, f"given {len(parts)} values; expected {len(items)}", faults)
    wanted = list(items) if fixed else [items[0] if items else Any] * len(parts)
    before, converted = len(faults), []
    for index, (part, item) in enumerate(zip(parts, wanted, strict=True)):
        try:
            converted.append(conform(part, item, (*key, str(index)), faults, nested))
        except Refused:
            continue
    if len(faults) > before:
        raise Refused
    return tuple(converted) if kind is tuple else converted


def _union(value: Any, annotation: Any, key: Key, faults: list[Fault], nested: Nested) -> Any:
    members = [member for member in get_args(annotation) if member is not types.NoneType]
    if value is None and len(members) < len(get_args(annotation)):
        return None
    tried: list[list[Fault]] = []
    for member in members:
        own: list[Fault] = []
        try:
            return conform(value, member, key, own, nested)
        except Refused:
            tried.append(own)
    if len(tried) == 1:
        optional = len(members) < len(get_args(annotation))
        for fault in tried[0]:
            told = fault.message + (" or null" if optional and fault.key == key and "expected" in fault.message else "")
            faults.append(Fault(fault.key, told, fault.where))
        raise Refused
    plugins = [own for member, own in zip(members, tried, strict=True) if _is_plugin(member)]
    if plugins and isinstance(value, (str, Mapping)):
        faults += plugins[0]
        raise Refused
    return _mismatch(value, annotation, key, faults)


def _is_plugin(annotation: Any) -> bool:
    return isinstance(annotation, type) and group_of_class(annotation) is not None


def _literal(value: Any, allowed: tuple[Any, ...], key: Key, faults: list[Fault]) -> Any:
    for choice in allowed:
        if type(choice) is type(value) and choice == value:
            return choice
    near = nearest(value, [choice for choice in allowed if isinstance(choice, str)]) if isinstance(value, str) else None
    guess = f"; did you mean {near!r}?" if near else ""
    return _refuse(key, f"given {show(value)}{guess}; expected {describe(Literal[*allowed])}", faults)


def _marked(value: Any, annotation: Any, key: Key, faults: list[Fault]) -> Any:
    for mark in get_args(annotation)[1:]:
        if isinstance(mark, Range) and not mark.holds(value):
            return _refuse(key, f"given {show(value)}; allowed: {describe(annotation)}", faults)
        if isinstance(mark, Pattern) and not re.fullmatch(mark.expression, value):
            return _refuse(key, f"given {show(value)}; expected {mark.told}", faults)
        if isinstance(mark, Plugins):
            try:
                resolve_name(mark.group, value)
            except ValueError as error:
                return _refuse(key, str(error), faults)
    return value


def _mismatch(value: Any, annotation: Any, key: Key, faults: list[Fault]) -> Any:
    return _refuse(key, f"given {show(value)}; expected {describe(annotation)}", faults)


def _refuse(key: Key, message: str, faults: list[Fault]) -> Any:
    faults.append(Fault(key, message))
    raise Refused


def show(value: Any) -> str:
    """A value as it is quoted in a message, with its kind where the text alone would not say it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return f"the text {value!r}"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return f"the list {list(value)!r}"
    return repr(value)


NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}


def describe(annotation: Any) -> str:
    """An annotation in words: "a whole number ≥ 1 or null"."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        ranges = [f" {mark}" for mark in arguments[1:] if isinstance(mark, Range)]
        told = [f" ({mark.told})" for mark in arguments[1:] if isinstance(mark, Pattern)]
        names = [f" ({singular(mark.group)}'s name)" for mark in arguments[1:] if isinstance(mark, Plugins)]
        return describe(arguments[0]) + "".join(ranges + told + names)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(member) for member in arguments)
    if origin is Literal:
        return " or ".join(repr(choice) for choice in arguments)
    if annotation in (None, types.NoneType):
        return "null"
    if origin in SEQUENCES:
        items = [item for item in arguments if item is not Ellipsis]
        if origin is tuple and Ellipsis not in arguments:
            return f"a list of {len(items)}: {', '.join(describe(item) for item in items)}"
        return f"a list, each {describe(items[0])}"
    if origin in MAPPINGS or annotation in MAPPINGS:
        return "a mapping"
    group = group_of_class(annotation) if isinstance(annotation, type) else None
    if group is not None:
        return f"{with_article(singular(group))} (a name, or a mapping with a name)"
    return NAMES.get(annotation, getattr(annotation, "__name__", str(annotation)))


def with_article(word: str) -> str:
    """ "an objective", "a path" """
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


@functools.cache
def hints(of: Any) -> Mapping[str, Any]:
    """Resolved annotations of a class or function, marks included."""
    return typing.get_type_hints(of, include_extras=True)

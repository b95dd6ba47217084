"""YAML text to plain data and line marks. Syntax errors and repeated keys are refused with their lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.config.faults import ConfigError, Fault, Key

Marks = dict[Key, str]
"""Where each place of a configuration was written: "train.yaml:12", or an override."""


def read_text(text: str, source: str) -> tuple[dict[str, Any], Marks]:
    """The mapping that a YAML text holds, interpolations not yet followed, and the line of each key and list item.

    Raises:
        ConfigError: the text is no YAML, or no mapping of names; or a key stands twice.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError([_syntax(error, source)]) from None
    if node is None:
        return {}, {}
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError([Fault((), "a configuration is a mapping of keys to values", f"{source}:1")])
    marks: Marks = {}
    faults = list(_walk(node, (), source, marks, ()))
    if faults:
        raise ConfigError(faults)
    try:
        data = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except yaml.YAMLError as error:
        raise ConfigError([_syntax(error, source)]) from None
    except OmegaConfBaseException as error:
        raise ConfigError([interpolation_fault(error, marks)]) from None
    assert isinstance(data, dict)
    return {str(key): value for key, value in data.items()}, marks


def _syntax(error: yaml.YAMLError, source: str) -> Fault:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        told = " ".join(part for part in (error.context, error.problem) if part)
        where = f"{source}:{mark.line + 1}" if mark is not None else source
        return Fault((), f"YAML syntax error: {told}", where)
    return Fault((), f"YAML syntax error: {str(error).splitlines()[0]}", source)


def _walk(
    node: yaml.Node, key: Key, source: str, marks: Marks, above: tuple[yaml.Node, ...], merged: bool = False
) -> Iterator[Fault]:
    """Record the line of every key and item under ``node``; yield keys that are no names and keys that stand twice."""
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            marks.setdefault((*key, str(index)), f"{source}:{child.start_mark.line + 1}")
            yield from _walk(child, (*key, str(index)), source, marks, (*above, node))
    if not isinstance(node, yaml.MappingNode) or node in above:
        return
    seen: dict[str, int] = {}
    for name, child in node.value:
        line = name.start_mark.line + 1
        if name.tag == "tag:yaml.org,2002:merge":
            for base in child.value if isinstance(child, yaml.SequenceNode) else [child]:
                yield from _walk(base, key, source, marks, (*above, node), merged=True)
        elif not isinstance(name, yaml.ScalarNode) or name.tag != "tag:yaml.org,2002:str":
            yield Fault(key, f"a key has to be a name, but {getattr(name, 'value', name)!r} is not", f"{source}:{line}")
        elif name.value in seen:
            told = f"this key stands twice: lines {seen[name.value]} and {line}"
            yield Fault((*key, name.value), told, f"{source}:{line}")
        else:
            seen[name.value] = line
            if not merged or (*key, name.value) not in marks:
                marks[(*key, name.value)] = f"{source}:{line}"
            yield from _walk(child, (*key, name.value), source, marks, (*above, node))


def where(marks: Marks, key: Key) -> str | None:
    """Where a place was written, or the nearest one above it that was, or else all that stands below it."""
    for length in range(len(key), 0, -1):
        if key[:length] in marks:
            return marks[key[:length]]
    below = dict.fromkeys(mark for place, mark in marks.items() if place[: len(key)] == key)
    return ", ".join(below) if key and below else None


def interpolation_fault(error: OmegaConfBaseException, marks: Marks) -> Fault:
    """OmegaConf's complaint about an interpolation, at the place that holds it."""
    key = tuple(
        part
        for part in str(getattr(error, "full_key", None) or "").replace("[", ".").replace("]", "").split(".")
        if part
    )
    return Fault(key, f"this interpolation cannot be followed: {str(error).splitlines()[0]}", where(marks, key))

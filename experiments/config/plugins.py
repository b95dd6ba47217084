"""A plugin chosen and its options: read from what was written, compared, named and built."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from experiments.config.faults import ConfigError, Fault, Key, Refused, unknown
from experiments.config.values import conform, describe, hints, with_article
from experiments.registry import Entry, Resolved, entries, group_of_class, resolve_name, singular
from experiments.registry.names import scalar

REQUIRED: Final = object()

FRAMEWORK: Mapping[str, tuple[str, ...]] = {"backbones": ("spec", "step")}
"""Constructor parameters that the framework fills in, by group: they are no options of the user's."""


@dataclass(frozen=True)
class Option:
    """One option of a plugin: a constructor parameter, its type and its default (REQUIRED where it has none)."""

    name: str
    annotation: Any
    default: Any

    @property
    def allowed(self) -> str:
        return describe(self.annotation)


@dataclass(frozen=True)
class Plugin:
    """One plugin of a configuration. ``options`` is complete; a nested plugin in it is a Plugin itself."""

    entry: Entry
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def group(self) -> str:
        return self.entry.group

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def cls(self) -> type[Any]:
        return self.entry.load()

    @property
    def arguments(self) -> dict[str, Any]:
        """Every constructor argument as plain nested data; a nested plugin is a mapping with its ``name``."""
        return {name: plain(value) for name, value in self.options.items()}

    def plain(self) -> dict[str, Any]:
        """The mapping that a configuration file holds, complete: reads back to an equal plugin."""
        return {"name": self.name, **self.arguments}

    def identity(self) -> dict[str, Any]:
        """{name, version, arguments that differ from the defaults}; nested plugins likewise. Not to be changed."""
        return self._identity

    @functools.cached_property
    def _identity(self) -> dict[str, Any]:
        defaults = {name: option.default for name, option in options(self.cls, self.group).items()}
        differing = {
            name: identity(value)
            for name, value in self.options.items()
            if name not in places(self.cls)
            and (defaults[name] is REQUIRED or identity(value) != identity(defaults[name]))
        }
        return {"name": self.name, "version": getattr(self.cls, "version", 1), "arguments": differing}

    @functools.cached_property
    def label(self) -> str:
        """The field's name for it: its own notation, the preset that it equals, or its name.

        A function of the options alone, so that one configuration has one label however it was written.
        """
        if not FRAMEWORK.get(self.group) and hasattr(self.cls, "notation"):
            return str(build_cached(self).notation)
        own = self.identity()
        for name in self.entry.presets:
            if _preset(self.entry, name).identity() == own:
                return name
        return self.name

    def build(self, **framework: Any) -> Any:
        """The object itself; ``framework`` gives what is no option (a backbone's ``spec`` and ``step``)."""
        given = {name: value.build() if isinstance(value, Plugin) else value for name, value in self.options.items()}
        return self.cls(**framework, **given)


def places(cls: type[Any]) -> tuple[str, ...]:
    """Options of a plugin class that say where something lies, and are no part of an identity; ``contents`` is."""
    return getattr(cls, "places", ())


def lasting(plugin: Plugin) -> bool:
    """Whether what a plugin builds follows from its options alone, and not from files that may change."""
    nested = (value for value in plugin.options.values() if isinstance(value, Plugin))
    return not places(plugin.cls) and all(map(lasting, nested))


def plain(value: Any) -> Any:
    """Options as plain nested data: lists for tuples, mappings with a name for plugins."""
    if isinstance(value, Plugin):
        return value.plain()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def identity(value: Any) -> Any:
    """The part of a value that tells two runs apart; a nested plugin gives its own identity."""
    if isinstance(value, Plugin):
        return value.identity()
    if isinstance(value, Mapping):
        return {str(key): identity(item) for key, item in value.items()}
    return [identity(item) for item in value] if isinstance(value, (list, tuple)) else value


@functools.cache
def options(cls: type[Any], group: str) -> Mapping[str, Option]:
    """The options of a plugin class, read from its constructor's signature."""
    parameters = inspect.signature(cls).parameters
    annotations = hints(cls.__init__)
    fields = {item.name: item for item in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}
    found = {}
    for name, parameter in parameters.items():
        if name in FRAMEWORK.get(group, ()) or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default = REQUIRED if parameter.default is parameter.empty else parameter.default
        factory = fields[name].default_factory if name in fields else dataclasses.MISSING
        if not isinstance(factory, dataclasses._MISSING_TYPE):
            default = factory()
        found[name] = Option(name, annotations.get(name, Any), described(default))
    return found


def described(value: Any) -> Any:
    """A plugin object becomes the Plugin that describes it, read off its attributes; anything else stays.

    Raises:
        ValueError: an object of a plugin's kind that no package has registered.
    """
    if isinstance(value, (list, tuple)):
        return type(value)(described(item) for item in value)
    group = group_of_class(type(value))
    if group is None:
        return value
    target = f"{type(value).__module__}:{type(value).__qualname__}"
    for entry in entries(group).values():
        if entry.target == target:
            return Plugin(entry, {name: described(getattr(value, name)) for name in options(type(value), group)})
    raise ValueError(f"{target} is not registered among the {group}")


def resolve_plugin(group: str, written: Any, *, base: Plugin | None = None) -> Plugin:
    """Read a plugin as a configuration writes it: a name, or a mapping with a ``name`` and options.

    Args:
        base: what an option or a name that is not given is taken from.

    Raises:
        ConfigError: every fault found, each at its place under this plugin.
    """
    found, faults = _resolve_cached(group, json.dumps(plain(written), sort_keys=True, default=str), base)
    if found is None or faults:
        raise ConfigError(faults)
    return found


def _resolve_cached(group: str, text: str, base: Plugin | None) -> tuple[Plugin | None, tuple[Fault, ...]]:
    key = (group, text, json.dumps(base.plain(), sort_keys=True) if base is not None else None)
    if key in _RESOLVED:
        return _RESOLVED[key]
    faults: list[Fault] = []
    try:
        found = _resolve(group, json.loads(text), base, faults)
    except Refused:
        return None, tuple(faults)
    if lasting(found):
        _RESOLVED[key] = found, tuple(faults)
    return found, tuple(faults)


_RESOLVED: dict[tuple[str, str, str | None], tuple[Plugin | None, tuple[Fault, ...]]] = {}


def _resolve(group: str, written: Any, base: Plugin | None, faults: list[Fault]) -> Plugin:
    if isinstance(written, str):
        written = {"name": written}
    if not isinstance(written, Mapping):
        faults.append(
            Fault((), f"expected {with_article(singular(group))}: a name, or a mapping with a name; given {written!r}")
        )
        raise Refused
    given, below = dict(written), {}
    if "name" not in given and base is not None:
        given, below = {**base.plain(), **given}, base.options
    name = given.pop("name", None)
    if not isinstance(name, str):
        faults.append(Fault(("name",), f"which {singular(group)}? {_choices(group)}"))
        raise Refused
    try:
        resolved = resolve_name(group, name)
        known = options(resolved.entry.load(), group)
        meant = _called(resolved, known)
    except ValueError as error:
        faults.append(Fault(("name",) if "name" in written else (), str(error)))
        raise Refused from None
    chosen: dict[str, Any] = {}
    what = f"option of {resolved.entry.name}"
    faults += [Fault((key,), unknown(what, key, list(known))) for key in given if key not in known]
    for option in known.values():
        value = given.get(option.name, meant.get(option.name, option.default))
        if value is REQUIRED:
            faults.append(Fault((option.name,), f"{resolved.entry.name} needs it: {option.allowed}"))
        elif option.name not in given and option.name not in meant:
            chosen[option.name] = value
        else:
            default = {option.name: option.default, **below, **meant}[option.name]
            nested = _nested(default if isinstance(default, Plugin) else None)
            try:
                chosen[option.name] = conform(value, option.annotation, (option.name,), faults, nested)
            except Refused:
                continue
    if faults:
        raise Refused
    return _built(Plugin(resolved.entry, chosen), faults)


def _called(resolved: Resolved, known: Mapping[str, Option]) -> dict[str, Any]:
    """The arguments that a name stands for, those by position put to their names."""
    if len(resolved.positional) > len(known):
        taken = ", ".join(known) or "none"
        raise ValueError(
            f"{resolved.entry.name} takes {len(known)} arguments ({taken}), given {len(resolved.positional)}"
        )
    by_position = {name: scalar(text) for name, text in zip(known, resolved.positional, strict=False)}
    twice = sorted(by_position.keys() & resolved.arguments.keys())
    if twice:
        raise ValueError(f"{resolved.entry.name} is given {', '.join(twice)} twice")
    wrong = [name for name in resolved.arguments if name not in known]
    if wrong:
        raise ValueError(unknown(f"option of {resolved.entry.name}", wrong[0], list(known)))
    return {**{name: described(value) for name, value in resolved.arguments.items()}, **by_position}


def _nested(default: Plugin | None) -> Any:
    def read(cls: type[Any], value: Any, key: Key, faults: list[Fault]) -> Plugin:
        group = group_of_class(cls)
        assert group is not None
        if isinstance(value, Plugin):
            return value
        try:
            found = resolve_plugin(group, value, base=default)
        except ConfigError as error:
            faults.extend(fault.under(key) for fault in error.faults)
            raise Refused from None
        if not issubclass(found.cls, cls):
            faults.append(Fault(key, f"{found.name} is no {cls.__name__}, and one is needed here"))
            raise Refused
        return found

    return read


def _built(plugin: Plugin, faults: list[Fault]) -> Plugin:
    """Build it once where it needs nothing of the framework's: its own refusals are faults of this place."""
    if FRAMEWORK.get(plugin.group):
        return plugin
    try:
        made = build_cached(plugin)
    except ValueError as error:
        faults.append(Fault((), f"{plugin.name}: {error}"))
        raise Refused from None
    filled = {
        name: described(getattr(made, name))
        for name, value in plugin.options.items()
        if value is None and _fills(made, name)
    }
    return Plugin(plugin.entry, {**plugin.options, **filled}) if filled else plugin


def _fills(made: Any, name: str) -> bool:
    """Whether a built object says what an option that was left null is: a plugin, or what it found in a file."""
    return group_of_class(type(getattr(made, name, None))) is not None or name in getattr(made, "contents", ())


_BUILT: dict[tuple[str, str], Any] = {}


def build_cached(plugin: Plugin) -> Any:
    """One shared object per plugin, for questions that do not change it (its notation, its needs, its grid)."""
    if not lasting(plugin):
        return plugin.build()
    key = (plugin.group, json.dumps(plugin.plain(), sort_keys=True))
    if key not in _BUILT:
        _BUILT[key] = plugin.build()
    return _BUILT[key]


@functools.cache
def _preset(entry: Entry, name: str) -> Plugin:
    return resolve_plugin(entry.group, name)


def _choices(group: str) -> str:
    return f"Known: {', '.join(entry.name for entry in entries(group).values())}"

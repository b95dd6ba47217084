"""The plugins that are installed, read from entry points and source text alone."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.errors import UserError

SINGULAR: Mapping[str, str] = {
    "objectives": "objective",
    "backbones": "backbone",
    "datamodules": "data",
    "paths": "path",
    "densities": "density",
    "heads": "head",
    "weightings": "weighting",
    "couplings": "coupling",
    "solvers": "solver",
    "time_grids": "time_grid",
    "optimizers": "optimizer",
    "schedules": "schedule",
    "metrics": "metric",
    "features": "features",
    "trackers": "tracker",
    "launchers": "launcher",
}
"""Every plugin group with the word for one of its members; the first three and two more are config sections."""

GROUPS: tuple[str, ...] = tuple(SINGULAR)

DISTRIBUTION = "fewstep"
PREFIX = "fewstep."


def singular(group: str) -> str:
    """The word for one member of ``group``: "densities" gives "density"."""
    return SINGULAR[group]


@dataclass(frozen=True)
class Entry:
    """One installed plugin: its group, its name, and where its class stands ("package.module:Class")."""

    group: str
    name: str
    target: str
    distribution: str

    @property
    def module(self) -> str:
        return self.target.partition(":")[0]

    @property
    def attribute(self) -> str:
        return self.target.partition(":")[2]

    @property
    def own(self) -> bool:
        """Whether fewstep itself brings it, rather than another's package."""
        return self.distribution == DISTRIBUTION

    def load(self) -> type[Any]:
        """The plugin's class.

        Raises:
            UserError: the module cannot be imported, or has no such class.
        """
        return _load(self.target, self.group, self.name, self.distribution)

    @property
    def summary(self) -> str:
        """First line of the class's docstring, read from the source without importing it ("" where there is none)."""
        node = _class_node(self.module, self.attribute)
        text = ast.get_docstring(node) if node is not None else None
        return text.splitlines()[0] if text else ""

    @property
    def presets(self) -> dict[str, dict[str, Any]]:
        """The class's literal ``presets`` table: preset name -> constructor arguments."""
        node = _class_node(self.module, self.attribute)
        return _literal_attribute(node, "presets") if node is not None else {}

    def defines(self, method: str) -> bool:
        """Whether the class's own body defines this method, read from the source without importing it."""
        node = _class_node(self.module, self.attribute)
        return node is not None and any(isinstance(item, ast.FunctionDef) and item.name == method for item in node.body)


@functools.cache
def _load(target: str, group: str, name: str, distribution: str) -> type[Any]:
    module, _, attribute = target.partition(":")
    told = f"{singular(group)} {name!r} ({target}, from {distribution})"
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError as error:
        raise UserError(f"{told} cannot be imported: {error}") from error
    except Exception as error:
        raise UserError(f"{told} cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(found, type):
        raise UserError(f"{told} names no class")
    return found


@functools.cache
def entries(group: str) -> Mapping[str, Entry]:
    """Installed plugins of a group, by their names in lower case, in the order of their names.

    Raises:
        UserError: two distributions claim one name.
    """
    found: dict[str, Entry] = {}
    for point in sorted(importlib.metadata.entry_points(group=PREFIX + group), key=lambda point: point.name.casefold()):
        distribution = point.dist.name if point.dist is not None else "an unknown distribution"
        entry = Entry(group, point.name, point.value.replace(" ", ""), distribution)
        other = found.setdefault(entry.name.casefold(), entry)
        if other.target != entry.target:
            raise UserError(
                f"two plugins are called {entry.name!r} in {group}: {other.target} (from {other.distribution}) and "
                f"{entry.target} (from {entry.distribution}); uninstall one of the two"
            )
    return found


BASES: Mapping[str, str] = {
    "objectives.base:Objective": "objectives",
    "objectives.paths.base:Path": "paths",
    "objectives.densities.base:TimeDensity": "densities",
    "objectives.heads.base:Head": "heads",
    "objectives.weightings.base:TimeWeighting": "weightings",
    "objectives.couplings.base:Coupling": "couplings",
    "objectives.solvers.base:Solver": "solvers",
    "objectives.time_grids.base:TimeGrid": "time_grids",
    "backbones.base:Backbone": "backbones",
    "datamodules.base:DataModule": "datamodules",
}
"""The class that all plugins of a group derive from: a constructor argument of this type is a nested plugin."""


@functools.cache
def group_of_class(cls: type[Any]) -> str | None:
    """The plugin group that a class belongs to by its bases, or None where it is no plugin."""
    for base in cls.__mro__:
        group = BASES.get(f"{base.__module__}:{base.__qualname__}")
        if group is not None:
            return group
    return None


def source_file(module: str) -> Path | None:
    """The file of a module, found through its top-level package's search path; no package is imported."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin is not None else None
    for location in spec.submodule_search_locations or []:
        place = Path(location, *rest)
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    return None


@functools.cache
def _tree(module: str) -> ast.Module | None:
    file = source_file(module)
    if file is None or not file.is_file():
        return None
    try:
        return ast.parse(file.read_bytes())
    except SyntaxError:
        return None


def _class_node(module: str, attribute: str, hops: int = 3) -> ast.ClassDef | None:
    """The class's definition; a module that only re-exports it is followed to the one that defines it."""
    tree = _tree(module)
    for node in tree.body if tree is not None else []:
        if isinstance(node, ast.ClassDef) and node.name == attribute:
            return node
        if isinstance(node, ast.ImportFrom) and node.module and not node.level and hops:
            for alias in node.names:
                if (alias.asname or alias.name) == attribute:
                    return _class_node(node.module, alias.name, hops - 1)
    return None


def _literal_attribute(node: ast.ClassDef, name: str) -> dict[str, Any]:
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign):
            targets, value = [statement.target], statement.value
        elif isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        else:
            continue
        if value is not None and any(isinstance(target, ast.Name) and target.id == name for target in targets):
            try:
                return dict(ast.literal_eval(value))
            except (ValueError, TypeError):
                return {}
    return {}

"""Plugins by name: which there are, what a written name means, and whether the installed table is in step.

Nothing here imports torch. A plugin's own module is imported when its class is asked for, not before.
"""

from __future__ import annotations

from experiments.registry.entries import GROUPS, SINGULAR, Entry, entries, group_of_class, singular
from experiments.registry.installation import shadowed_packages, stale_plugins, whose_fault
from experiments.registry.names import Resolved, known_names, resolve_name

__all__ = [
    "GROUPS",
    "SINGULAR",
    "Entry",
    "Resolved",
    "entries",
    "group_of_class",
    "known_names",
    "resolve_name",
    "shadowed_packages",
    "singular",
    "stale_plugins",
    "whose_fault",
]

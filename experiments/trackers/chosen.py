"""The trackers that a configuration names."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from experiments.config.plugins import resolve_plugin
from experiments.errors import UserError
from experiments.trackers.base import Tracker

ALWAYS = "csv"


def chosen(names: Sequence[str]) -> list[Tracker]:
    """A new tracker for each name of ``trainer.trackers`` ("tensorboard", "wandb(project=digits)"); CSV always.

    Raises:
        UserError: a package that one of them needs is not installed; says what to install.
    """
    plugins = [resolve_plugin("trackers", name) for name in names]
    if all(plugin.name != ALWAYS for plugin in plugins):  # reports read it
        plugins.insert(0, resolve_plugin("trackers", ALWAYS))
    for plugin in plugins:
        missing = [name for name in getattr(plugin.cls, "requires", ()) if importlib.util.find_spec(name) is None]
        if missing:
            raise UserError(
                f"trainer.trackers: {plugin.name} needs {' and '.join(missing)}, not installed here: "
                f"pip install '{plugin.entry.distribution}[{plugin.name}]', or leave {plugin.name} out"
            )
    return [plugin.build() for plugin in plugins]

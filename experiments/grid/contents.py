"""What a grid's cells found in files when they were planned, and whether the same is there still."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from experiments.config import Config, ConfigError
from experiments.config.plugins import lasting, resolve_plugin
from experiments.config.schema import PLUGINS


def contents(configs: Iterable[Config]) -> list[list[Any]]:
    """[group, plugin as a configuration writes it], each once, of plugins that name files and say what these hold."""
    plugins = {id(plugin): plugin for config in configs for plugin in (getattr(config, name) for name in PLUGINS)}
    texts = {json.dumps([plugin.group, plugin.plain()]) for plugin in plugins.values() if not lasting(plugin)}
    return [json.loads(text) for text in sorted(texts)]


def changed(before: Sequence[Sequence[Any]]) -> bool:
    """Whether one of them is refused by now, for something else is where it was. Imports torch if there are any."""
    for group, plugin in before:
        try:
            resolve_plugin(group, plugin)
        except ConfigError:
            return True
    return False

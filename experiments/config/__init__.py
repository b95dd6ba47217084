"""Configuration: read a YAML file and overrides, check everything, and know what makes a run the same run.

::

    raw = read(Path("train.yaml"), ["objective=shortcut", "objective.k=0.25"])    # text, with line marks
    config = resolve(raw)                                                         # plugins known, all faults at once
    config.hash, config.run_name, config.objective.build()

Importing this package imports neither torch nor any plugin; ``resolve`` imports the plugins that are named.
"""

from __future__ import annotations

from experiments.config.config import Config, load, resolve, sections
from experiments.config.faults import ConfigError, Fault
from experiments.config.plugins import Plugin
from experiments.config.raw import Raw, parse, read
from experiments.config.run_weights import RunPairs, RunWeights
from experiments.config.schema import EMA, Evaluation, Trainer

__all__ = [
    "EMA",
    "Config",
    "ConfigError",
    "Evaluation",
    "Fault",
    "Plugin",
    "Raw",
    "RunPairs",
    "RunWeights",
    "Trainer",
    "load",
    "parse",
    "read",
    "resolve",
    "sections",
]

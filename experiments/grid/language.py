"""The grid language: a YAML file that says what is varied. Imports no torch.

::

    name: objectives            # the study's folder
    base:                       # a configuration, or the name of a file or shipped configuration that holds one
      trainer: {max_steps: 2000}
    product:                    # every combination of these values …
      objective: [rf, shortcut]
      backbone: [dit, u-vit]
      optimizer.lr: {logrange: [1e-4, 1e-2, 5]}
    zip:                        # … with these, which go together: the first with the first, and so on
      trainer.batch_size: [64, 128]
      optimizer.weight_decay: [0, 0.01]
    one_at_a_time:              # … around each: as it is, and with one of these changed at a time
      trainer.clip: [0.5, 2]
      ema.decays: [[0.99], [0.9]]
    quasi_random:               # … each with points that are drawn
      axes: {schedule.warmup: {int: [0, 500]}}
      samples: 8
    cells:                      # and these besides, one by one
      - {objective: shortcut, objective.k: 0.5}
    exclude:                    # without the cells that fit all of a condition
      - {objective: shortcut, trainer.batch_size: [128]}
    include:                    # and only those that fit one of these
      - {optimizer.lr: {">=": 1e-3}}
    seeds: [0, 1, 2]            # all of that for each seed
    resources:                  # what a cell asks of a cluster: the first class whose condition fits, else "default"
      large: {match: {backbone: u-vit}, gpus: 4, time: 4h}
    smoke: {backbone.depth: 1}  # laid over every cell by --smoke

or several such grids, each with what it changes in the study's base, and some waiting for others::

    grids:
      teachers: {product: {backbone: [dit, u-vit]}}
      students: {base: {objective: shortcut}, product: {backbone: [dit, u-vit]}, after: {teachers: [backbone, seed]}}

Keys are dotted places in a configuration and values whatever may stand there. docs/grids.md tells it all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.config import ConfigError, Fault, Raw
from experiments.grid.blocks import Block, Combination
from experiments.grid.conditions import Condition
from experiments.grid.layers import Layers


@dataclass(frozen=True)
class ResourceClass:
    """What some cells ask of a cluster: the cells that fit one of ``match``; the launcher reads ``asks``."""

    match: list[Condition]
    asks: Mapping[str, Any]


@dataclass(frozen=True)
class Grid:
    """A grid file as it was written; :meth:`combinations` takes it apart."""

    name: str
    base: Raw
    blocks: tuple[Block, ...]
    source: Path
    resources: Mapping[str, ResourceClass] = field(default_factory=dict)
    smoke: Mapping[str, Any] = field(default_factory=dict)

    @property
    def varied(self) -> list[str]:
        """Every key that the file sets outside the study's base."""
        return list(dict.fromkeys(key for block in self.blocks for key in block.varied))

    def block(self, name: str) -> Block:
        """One of the grids, by its name."""
        return next(block for block in self.blocks if block.name == name)

    def combinations(self, layers: Layers | None = None) -> list[Combination]:
        """Every point of every grid that the conditions leave.

        Args:
            layers: what lays them over the base, if it is to be used again.

        Raises:
            ConfigError: a condition names a key or value that no cell has; all cells of a grid are excluded.
        """
        layers = layers or Layers(self.base)
        points: list[Combination] = []
        faults: list[Fault] = []
        for block in self.blocks:
            try:
                points += block.points(layers)
            except ConfigError as error:
                faults += error.faults
        if faults:
            raise ConfigError(faults)
        return points

    def asks(self) -> dict[str, dict[str, Any]]:
        """The classes of resources without their conditions, as cells.json holds them."""
        return {name: dict(one.asks) for name, one in self.resources.items()}


def read_grid(file: Path) -> Grid:
    """Read a grid file.

    Raises:
        UserError: there is no such file.
        ConfigError: a YAML syntax error or anything that is no grid, with file and line, all faults at once.
    """
    from experiments.grid.reading import read

    return read(file)

"""Which class of resources a cell asks for: its grid's, else the first one whose condition fits. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.config import ConfigError, Fault
from experiments.config.reading import where
from experiments.grid.blocks import Combination, idle
from experiments.grid.language import Grid
from experiments.grid.layers import Layers

DEFAULT = "default"


class Classes:
    """The classes of a grid file.

    Raises:
        ConfigError: a condition names a key or value that no cell has.
    """

    def __init__(self, grid: Grid, layers: Layers, points: Sequence[Combination]):
        self._grid, self._layers = grid, layers
        self._named = {block.name: block.resources for block in grid.blocks}
        drawn = {key: None for block in grid.blocks if block.drawn for key in block.drawn.axes}
        marks = grid.blocks[0].marks
        faults = [
            Fault(place := ("resources", name, "match", key), message, where(marks, place))
            for name, one in grid.resources.items()
            for condition in one.match
            for key, message in idle(condition, points, layers, drawn)
        ]
        if faults:
            raise ConfigError(faults)

    def of(self, point: Combination) -> str:
        """The name of a point's class."""
        named = self._named[point.block]
        if named is not None:
            return named
        for name, one in self._grid.resources.items():
            if any(self._layers.matches(point, condition) for condition in one.match):
                return name
        return DEFAULT

"""Grids of path times to sample at, one per file."""

from objectives.time_grids.base import TimeGrid
from objectives.time_grids.karras import KarrasGrid
from objectives.time_grids.quantiles import QuantileGrid
from objectives.time_grids.shifted import ShiftedGrid
from objectives.time_grids.uniform import UniformGrid

TIME_GRIDS: dict[str, type[TimeGrid]] = {
    grid.name: grid for grid in (UniformGrid, KarrasGrid, ShiftedGrid, QuantileGrid)
}

__all__ = [
    "TIME_GRIDS",
    "KarrasGrid",
    "QuantileGrid",
    "ShiftedGrid",
    "TimeGrid",
    "UniformGrid",
]

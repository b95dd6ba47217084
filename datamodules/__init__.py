"""Data sets, their batches, their order and their augmentation."""

from datamodules.base import DataError, DataModule, Rows, Split
from datamodules.order import Sequential, TrainingOrder, positions
from datamodules.spec import DataSpec

__all__ = ["DataError", "DataModule", "DataSpec", "Rows", "Sequential", "Split", "TrainingOrder", "positions"]

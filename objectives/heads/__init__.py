"""Heads: what a network's raw output means, one per file."""

from objectives.heads.base import Head
from objectives.heads.edm import EDMPreconditioned
from objectives.heads.velocity import Velocity

__all__ = ["EDMPreconditioned", "Head", "Velocity"]

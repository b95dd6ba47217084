"""Heads: what a network's raw output means, one per file."""

from objectives.heads.base import Head
from objectives.heads.data import Data
from objectives.heads.edm import EDMPreconditioned
from objectives.heads.epsilon import Epsilon
from objectives.heads.trig import TrigFlow
from objectives.heads.v_prediction import VPrediction
from objectives.heads.velocity import Velocity

__all__ = ["Data", "EDMPreconditioned", "Epsilon", "Head", "TrigFlow", "VPrediction", "Velocity"]

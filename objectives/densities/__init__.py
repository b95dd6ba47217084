"""Densities of the training time t, one per file."""

from objectives.densities.base import TimeDensity
from objectives.densities.cosmap import CosMap
from objectives.densities.logit_normal import LogitNormal
from objectives.densities.mode import Mode
from objectives.densities.uniform import Uniform

__all__ = ["CosMap", "LogitNormal", "Mode", "TimeDensity", "Uniform"]

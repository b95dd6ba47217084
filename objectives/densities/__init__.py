"""Densities of the training time t, one per file."""

from objectives.densities.base import TimeDensity
from objectives.densities.beta import Beta
from objectives.densities.cosmap import CosMap
from objectives.densities.logit_normal import LogitNormal
from objectives.densities.mixture import Mixture
from objectives.densities.mode import Mode
from objectives.densities.shifted import Shifted
from objectives.densities.tan_normal import TanNormal
from objectives.densities.uniform import Uniform

__all__ = ["Beta", "CosMap", "LogitNormal", "Mixture", "Mode", "Shifted", "TanNormal", "TimeDensity", "Uniform"]

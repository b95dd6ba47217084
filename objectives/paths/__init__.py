"""Paths from data to noise: z_t = a(t)·x + b(t)·ε, one path per file."""

from objectives.paths.base import Path
from objectives.paths.cosine import Cosine
from objectives.paths.ddpm import DDPM
from objectives.paths.ldm_linear import LDMLinear
from objectives.paths.straight import Straight
from objectives.paths.trig import Trig
from objectives.paths.variance_exploding import VarianceExploding

__all__ = ["DDPM", "Cosine", "LDMLinear", "Path", "Straight", "Trig", "VarianceExploding"]

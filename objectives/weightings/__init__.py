"""Weightings of the training times, one per file: w(t) on the loss, apart from how often t is drawn."""

from objectives.weightings.base import TimeWeighting
from objectives.weightings.denoising import Denoising
from objectives.weightings.density_weight import DensityWeight
from objectives.weightings.learned import LearnedUncertainty
from objectives.weightings.min_snr import MinSNR
from objectives.weightings.unweighted import Unweighted

__all__ = ["Denoising", "DensityWeight", "LearnedUncertainty", "MinSNR", "TimeWeighting", "Unweighted"]

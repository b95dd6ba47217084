"""Distances between sets of samples, over features (N, D), and measures of a model itself."""

from experiments.metrics.base import Metric, Model, ModelMetric, SampleFeatures
from experiments.metrics.bits_per_dim import BitsPerDim
from experiments.metrics.energy import EnergyDistance, energy_distance
from experiments.metrics.frechet import FrechetDistance, frechet_distance
from experiments.metrics.kernel import KernelDistance, kernel_distance
from experiments.metrics.manifold import PrecisionRecall, precision_recall
from experiments.metrics.nearest import Memorisation, memorisation

__all__ = [
    "BitsPerDim",
    "EnergyDistance",
    "FrechetDistance",
    "KernelDistance",
    "Memorisation",
    "Metric",
    "Model",
    "ModelMetric",
    "PrecisionRecall",
    "SampleFeatures",
    "energy_distance",
    "frechet_distance",
    "kernel_distance",
    "memorisation",
    "precision_recall",
]

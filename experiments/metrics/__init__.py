"""Distances between sets of samples, over features (N, D), and measures of a model itself."""

from experiments.metrics.base import Measuring, Metric, Model, ModelMetric, SampleFeatures
from experiments.metrics.bits_per_dim import BitsPerDim
from experiments.metrics.diversity import Diversity, diversity
from experiments.metrics.energy import EnergyDistance, energy_distance
from experiments.metrics.frechet import FrechetDistance, frechet_distance
from experiments.metrics.kernel import KernelDistance, kernel_distance
from experiments.metrics.loss_table import LossTable
from experiments.metrics.manifold import PrecisionRecall, precision_recall
from experiments.metrics.nearest import Memorisation, memorisation
from experiments.metrics.path_length import PathLength
from experiments.metrics.self_consistency import SelfConsistency
from experiments.metrics.straightness import Straightness
from experiments.metrics.teacher_gap import TeacherGap

__all__ = [
    "BitsPerDim",
    "Diversity",
    "EnergyDistance",
    "FrechetDistance",
    "KernelDistance",
    "LossTable",
    "Measuring",
    "Memorisation",
    "Metric",
    "Model",
    "ModelMetric",
    "PathLength",
    "PrecisionRecall",
    "SampleFeatures",
    "SelfConsistency",
    "Straightness",
    "TeacherGap",
    "diversity",
    "energy_distance",
    "frechet_distance",
    "kernel_distance",
    "memorisation",
    "precision_recall",
]

"""What distances between samples are measured on: maps from samples to vectors."""

from experiments.features.base import FeatureExtractor, extract

__all__ = ["FeatureExtractor", "extract"]

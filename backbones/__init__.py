"""The networks: transformers and a small MLP, all called as ``network(z, t, condition, step)``."""

from backbones.base import Backbone, Condition, Spec
from backbones.cross_dit import CrossDiT
from backbones.dit import DiT
from backbones.mlp import MLP
from backbones.mmdit import MMDiT
from backbones.uvit import UViT

__all__ = ["MLP", "Backbone", "Condition", "CrossDiT", "DiT", "MMDiT", "Spec", "UViT"]

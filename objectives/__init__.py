"""What is learned and how it is sampled.

t = 0 is data and t = 1 is noise; z_t = a(t)·x + b(t)·ε; w = 1 means no guidance.
"""

from objectives.base import Loss, Needs, Network, Objective
from objectives.consistency_distillation import ConsistencyDistillation
from objectives.consistency_training import ConsistencyTraining
from objectives.draws import Draws, FixedDraws
from objectives.flow_matching import FlowMatching, formulation
from objectives.guidance import Guidance
from objectives.live_reflow import LiveReflow
from objectives.mean_flow import MeanFlow
from objectives.progressive_distillation import ProgressiveDistillation
from objectives.reflow import Reflow
from objectives.sampling import sample
from objectives.scm import SCM
from objectives.shortcut import Shortcut

__all__ = [
    "SCM",
    "ConsistencyDistillation",
    "ConsistencyTraining",
    "Draws",
    "FixedDraws",
    "FlowMatching",
    "Guidance",
    "LiveReflow",
    "Loss",
    "MeanFlow",
    "Needs",
    "Network",
    "Objective",
    "ProgressiveDistillation",
    "Reflow",
    "Shortcut",
    "formulation",
    "sample",
]

"""What is learned and how it is sampled.

t = 0 is data and t = 1 is noise; z_t = a(t)·x + b(t)·ε; w = 1 means no guidance.
"""

from objectives.base import Loss, Needs, Network, Objective
from objectives.draws import Draws, FixedDraws
from objectives.flow_matching import FlowMatching, formulation
from objectives.guidance import Guidance
from objectives.sampling import sample
from objectives.shortcut import Shortcut

__all__ = [
    "Draws",
    "FixedDraws",
    "FlowMatching",
    "Guidance",
    "Loss",
    "Needs",
    "Network",
    "Objective",
    "Shortcut",
    "formulation",
    "sample",
]

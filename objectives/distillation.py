"""What distilled few-step objectives share: the flows that they take, and a teacher that is asked with guidance."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from objectives.base import Network
from objectives.condition import Condition
from objectives.flow_matching import FlowMatching
from objectives.guidance import Guidance
from objectives.paths import Straight
from objectives.weightings import Unweighted


def check_flow(name: str, flow: FlowMatching) -> None:
    """Raise ValueError unless the flow is unweighted and on the straight path."""
    if not isinstance(flow.path, Straight):
        raise ValueError(f"{name} needs a flow on the path straight, got {flow.path}")
    if not isinstance(flow.weighting, Unweighted):
        raise ValueError(f"{name} weighs all times alike and takes no weighting, got {flow.weighting}")


def check_guidance(name: str, guidance: float) -> None:
    """Raise ValueError unless guidance is a finite number."""
    if not math.isfinite(guidance):
        raise ValueError(f"{name} takes a finite number as guidance, got {guidance}")


def guided(flow: FlowMatching, network: Network, guidance: float, condition: Condition) -> Network:
    """The network with classifier-free guidance, one batched call of twice the rows; itself where guidance is 1.

    Raises:
        ValueError: guidance other than 1 without a condition.
    """
    return Guidance(float(guidance)).wrap(network, condition, flow.label_time)


def starts(flow: FlowMatching, uniforms: Tensor, count: int) -> Tensor:
    """(B,) times 1/count, 2/count, … 1 where equal steps start: the flow's times (from uniforms (B,)), rounded up."""
    place = torch.floor(flow.times(uniforms) * count) + 1
    return place.clamp(max=count) / count


def needed(name: str, part: str, network: Network | None) -> Network:
    """The network, or a ValueError that says which of a loss's arguments is missing."""
    if network is None:
        raise ValueError(f"{name} needs loss(…, {part}=a network)")
    return network

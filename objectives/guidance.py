"""Guidance on a network's raw output: classifier-free, or by a weaker network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.base import Network
from objectives.condition import Condition, with_null
from objectives.heads.base import rows


@dataclass(frozen=True)
class Guidance:
    """out(∅) + w·(out(c) − out(∅)) on the raw output, both in one batched call; w = 1 means none.

    With a reference network the guidance is out_ref(c) + w·(out(c) − out_ref(c)), autoguidance: away from what a
    smaller or less trained network does, with or without a condition. Each network is called once.
    Source: Ho and Salimans 2022 (classifier-free guidance; their 1 + w is this w); Kynkäänniemi et al. 2024 (interval);
    Lin et al. 2024, eq. 15 and 16 (rescaling); Karras et al. 2024 (autoguidance); Peebles and Xie 2022 (channels).

    Args:
        scale: w.
        interval: (lowest, highest) path time at which to guide; outside it the condition alone is used.
        rescale: φ in [0, 1]: how far the guided output's standard deviation is drawn back to the conditional one's.
        reference: a weaker network with the same head and path, called as the network is.
        channels: guide the first so many channels, the others follow the condition alone; DiT samples with 3 of its 4.

    Raises:
        ValueError: a scale that is not finite, an interval that is not 0 ≤ lowest ≤ highest ≤ 1, φ out of range, no
            channel.
    """

    scale: float = 1.0
    interval: tuple[float, float] | None = None
    rescale: float | None = None
    reference: Network | None = None
    channels: int | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale):
            raise ValueError(f"the guidance scale must be a finite number, got {self.scale}")
        if self.interval is not None and not 0 <= self.interval[0] <= self.interval[1] <= 1:
            raise ValueError(f"the guidance interval must be 0 ≤ lowest ≤ highest ≤ 1, got {self.interval}")
        if self.rescale is not None and not 0 <= self.rescale <= 1:
            raise ValueError(f"the guidance rescaling must be in [0, 1], got {self.rescale}")
        if self.channels is not None and self.channels < 1:
            raise ValueError(f"guidance takes at least 1 channel, got {self.channels}")

    def wrap(self, network: Network, condition: Condition, time: Callable[[Tensor], Tensor]) -> Network:
        """The guided network; the network itself where w = 1. `time` maps noise labels to path times.

        Raises:
            ValueError: w other than 1 with neither a condition nor a reference.
        """
        if self.scale == 1:
            return network
        if condition is None and self.reference is None:
            raise ValueError(f"guidance {self.scale} needs a condition; without one only 1 (none) is possible")

        def guided(z: Tensor, t: Tensor, condition: Condition, step: Tensor | None = None) -> Tensor:
            steps = () if step is None else (step,)
            if self.interval is not None and not self.interval[0] <= float(time(t[:1])) <= self.interval[1]:
                return network(z, t, condition, *steps)
            if self.reference is not None:
                better, worse = (each(z, t, condition, *steps) for each in (network, self.reference))
                return self._combine(better.to(z.dtype), worse.to(z.dtype))
            assert condition is not None
            doubled = (torch.cat((value, value)) for value in steps)
            out = network(torch.cat((z, z)), torch.cat((t, t)), with_null(condition), *doubled)
            return self._combine(*out.to(z.dtype).chunk(2))

        return guided

    def _combine(self, better: Tensor, worse: Tensor) -> Tensor:
        out = worse + self.scale * (better - worse)
        if self.channels is not None:
            out = torch.cat((out[:, : self.channels], better[:, self.channels :]), dim=1)
        if not self.rescale:
            return out
        ratio = better.flatten(1).std(1) / out.flatten(1).std(1)
        return out * rows(1 + self.rescale * (ratio - 1), out)

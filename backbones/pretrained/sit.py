"""willisma/SiT: DiT's names, time and velocity the other way round."""

from __future__ import annotations

from typing import ClassVar

from backbones.base import Backbone
from backbones.pretrained.dit import PublicDiT
from backbones.pretrained.rows import Row


class SiT(PublicDiT):
    """willisma/SiT: the velocity of the straight path in DiT's architecture.

    Its time runs from noise to data, t' = 1 − t, unscaled, and its velocity is x − ε: the last layer's sign is turned,
    and the time told is −1·t + 1. Source: Ma et al. 2024 (SiT); its `models.py` and `transport/path.py`.
    """

    name: ClassVar[str] = "sit"
    code: ClassVar[str] = "willisma/SiT"
    time: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def rows(self, network: Backbone) -> list[Row]:
        turned = ("final_layer.linear.weight", "final_layer.linear.bias")
        return [Row(row.ours, row.theirs, "negated") if row.ours in turned else row for row in super().rows(network)]

    def misfits(self, network: Backbone) -> list[str]:
        offset = getattr(network, "time_offset", None)
        told = [] if offset == 1.0 else [f"time_offset={offset:g}: {self.code} is fed 1 − t"]
        return [*super().misfits(network), *told]

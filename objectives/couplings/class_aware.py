"""Minibatch optimal transport that leaves each class its own noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from objectives.condition import Condition
from objectives.couplings.base import Coupling, check_group
from objectives.couplings.transport import cheapest, groups


@dataclass(frozen=True)
class ClassAwareOT(Coupling):
    """Class-aware optimal transport: as minibatch_ot, but noise moves among samples of one class only.

    Transport over a whole batch makes the noise depend on the class, and sampling, which starts from the same noise
    for all, meets another distribution than training did. Here each class keeps the noise that was drawn for it.
    This is the limit of an infinite weight on the conditions' difference in C²OT.
    Source: Cheng and Schwing 2025 (The curse of conditions; C²OT).

    Args:
        group: rows among which classes are matched, 2 to 4096.

    Raises:
        ValueError: group out of range; a condition without a label.
    """

    labels: ClassVar[bool] = True
    group: int = 64

    def __post_init__(self) -> None:
        check_group("class_aware_ot", self.group)

    @property
    def batch_multiple(self) -> int:
        return self.group

    def couple(self, noise: Tensor, x: Tensor, condition: Condition) -> Tensor:
        label = None if condition is None else condition.get("label")
        if label is None:
            raise ValueError("class_aware_ot needs a condition with a label; without one there is minibatch_ot")
        order = torch.arange(len(x), device=x.device)
        partner = order.clone()
        for group in groups(len(x), self.group, x):
            for one in label[group].unique():
                rows = group[label[group] == one]
                partner = partner.index_copy(0, rows, rows[cheapest(x[rows], noise[rows])])
        return noise[partner]

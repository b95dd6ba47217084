"""Minibatch optimal transport."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.condition import Condition
from objectives.couplings.base import Coupling, check_group


@dataclass(frozen=True)
class MinibatchOT(Coupling):
    """Minibatch optimal transport: inside each group the permutation of the noise with the least Σ‖x_i − ε_i‖².

    Straightens the paths of unconditional models. Under a condition it is wrong: the noise of a class is then no
    longer standard normal, though sampling starts there; `class_aware_ot` keeps it so. The assignment is exact and
    solved on the CPU, which a GPU has to wait for.
    Source: Tong et al. 2024 (OT-CFM); Pooladian et al. 2023.

    Args:
        group: rows that are matched with one another, 2 to 4096.

    Raises:
        ValueError: group out of range.
    """

    group: int = 32

    def __post_init__(self) -> None:
        check_group("minibatch_ot", self.group)

    @property
    def batch_multiple(self) -> int:
        return self.group

    def couple(self, noise: Tensor, x: Tensor, condition: Condition) -> Tensor:
        return noise[torch.cat([rows[cheapest(x[rows], noise[rows])] for rows in groups(len(x), self.group, x)])]


def groups(batch: int, group: int, like: Tensor) -> tuple[Tensor, ...]:
    """The rows 0 … batch−1 in groups of consecutive ones, on `like`'s device."""
    return torch.arange(batch, device=like.device).split(group)


@torch.no_grad()
def cheapest(x: Tensor, noise: Tensor) -> Tensor:
    """(n,) int64: the noise row for each row of x, a permutation with the least sum of squared distances."""
    from scipy.optimize import linear_sum_assignment

    # ‖x‖² and ‖ε‖² are the same for every permutation.
    cost = -(x.flatten(1).to(torch.float64) @ noise.flatten(1).to(torch.float64).T)
    return torch.from_numpy(linear_sum_assignment(cost.cpu().numpy())[1]).to(x.device)

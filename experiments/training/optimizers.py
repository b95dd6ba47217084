"""Optimisers as plugins: hyper-parameters in the configuration, parameter groups made here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from torch import Tensor
from torch.optim import AdamW as TorchAdamW
from torch.optim import Optimizer as TorchOptimizer

from experiments.training.parameter_groups import Groups, check_groups, partition


class Optimizer(Protocol):
    """A recipe that makes a torch optimiser over named parameters."""

    lr: float

    def create(self, parameters: Iterable[tuple[str, Tensor]]) -> TorchOptimizer: ...


def check_ranges(recipe: Any, *, positive: Iterable[str], below_one: Iterable[str]) -> None:
    """Raise ValueError unless these fields are finite and ≥ 0, and those within [0, 1)."""
    for name in positive:
        value = getattr(recipe, name)
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name} = {value}: a finite number, 0 or more")
    for name in below_one:
        if not 0 <= getattr(recipe, name) < 1:
            raise ValueError(f"{name} = {getattr(recipe, name)}: within [0, 1)")


@dataclass(frozen=True)
class AdamW:
    """AdamW (Loshchilov & Hutter 2019); weight decay on matrices alone, not on biases and norms.

    Args:
        groups: pattern of parameter names -> {lr: factor on the learning rate, weight_decay: instead of the common
            one}; the first pattern that matches counts: ``groups: {"*adaLN*": {lr: 0.5}}``.

    Raises:
        ValueError: a value out of range.
    """

    lr: float = 1e-3
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    groups: Groups = field(default_factory=dict)
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_ranges(self, positive=("lr", "weight_decay", "eps"), below_one=("beta1", "beta2"))
        check_groups(self.groups)

    def create(self, parameters: Iterable[tuple[str, Tensor]]) -> TorchOptimizer:
        """The optimiser over these named parameters."""
        groups = partition(parameters, self.groups, lr=self.lr, weight_decay=self.weight_decay)
        return TorchAdamW(groups, lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps, fused=True)

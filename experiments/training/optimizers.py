"""Optimisers as plugins: hyper-parameters in the configuration, parameter groups made here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor
from torch.optim import AdamW as TorchAdamW
from torch.optim import Optimizer as TorchOptimizer


class Optimizer(Protocol):
    """A recipe that makes a torch optimiser over named parameters."""

    lr: float

    def create(self, parameters: Iterable[tuple[str, Tensor]]) -> TorchOptimizer: ...


@dataclass(frozen=True)
class AdamW:
    """AdamW (Loshchilov & Hutter 2019); weight decay on matrices alone, not on biases and norms."""

    lr: float = 1e-3
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name in ("lr", "weight_decay", "eps"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} = {value}: a finite number, 0 or more")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: within [0, 1)")

    def create(self, parameters: Iterable[tuple[str, Tensor]]) -> TorchOptimizer:
        decayed: list[Tensor] = []
        plain: list[Tensor] = []
        for _, parameter in parameters:
            (decayed if parameter.ndim > 1 else plain).append(parameter)
        groups = [{"params": decayed, "weight_decay": self.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        groups = [group for group in groups if group["params"]]
        return TorchAdamW(groups, lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps, fused=True)

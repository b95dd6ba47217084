"""Muon for the hidden matrices and AdamW for the rest, as one optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import AdamW as TorchAdamW
from torch.optim import Muon as TorchMuon
from torch.optim import Optimizer as TorchOptimizer

from experiments.training.optimizers import check_ranges
from experiments.training.parameter_groups import Groups, check_groups, first_match, partition

MUON, ADAMW = "muon", "adamw"


class MuonAdamW(TorchOptimizer):
    """torch's Muon and AdamW on one list of parameter groups and one state: one step, one state dict, one schedule.

    Args:
        groups: parameter groups, each with ``kind`` "muon" (matrices alone) or "adamw".
        muon, adamw: hyper-parameters of either kind.
    """

    def __init__(self, groups: list[dict[str, Any]], *, muon: dict[str, Any], adamw: dict[str, Any]):
        makers = {MUON: lambda given: TorchMuon(given, **muon), ADAMW: lambda given: TorchAdamW(given, **adamw)}
        self._parts: dict[str, TorchOptimizer] = {}
        for kind, make in makers.items():
            given = [group for group in groups if group["kind"] == kind]
            if given:
                self._parts[kind] = make(given)
        super().__init__([group for part in self._parts.values() for group in part.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step of both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for kind, part in self._parts.items():
            part.state = self.state  # a loaded state dict has put new objects in their place
            part.param_groups = [group for group in self.param_groups if group["kind"] == kind]
            part.step()
        return loss


@dataclass(frozen=True)
class Muon:
    """Muon (Jordan et al. 2024) on hidden matrices, AdamW on embeddings, the last layer and all that is no matrix.

    A matrix moves by lr · 0.2·√max(rows, columns) · NS(momentum), NS being five Newton-Schulz steps in bfloat16 towards
    the nearest semi-orthogonal matrix; by that factor (Liu et al. 2025, arXiv 2502.16982, eq. 4) its update is as large
    as AdamW's, and one learning rate and weight decay serve both. NS rounds to bfloat16: runs are bitwise equal at one
    world size, but their updates are only about 1e-2 close across world sizes.

    Args:
        momentum: of Muon, Nesterov's.
        beta1, beta2, eps: of AdamW.
        adamw: patterns of parameter names that AdamW has although they are matrices.
        groups: as AdamW's.

    Raises:
        ValueError: a value out of range.
    """

    lr: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.95
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    adamw: tuple[str, ...] = ("*emb*", "*final_layer*", "*decoder_pred*", "null_*")
    groups: Groups = field(default_factory=dict)
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_ranges(self, positive=("lr", "weight_decay", "eps"), below_one=("momentum", "beta1", "beta2"))
        check_groups(self.groups)

    def is_muons(self, name: str, parameter: Tensor) -> bool:
        """Whether Muon moves this parameter."""
        return parameter.ndim == 2 and first_match(name, self.adamw) is None

    def moments(self, name: str, parameter: Tensor) -> int:
        """Numbers kept for each element of a parameter: Muon's momentum, or AdamW's two."""
        return 1 if self.is_muons(name, parameter) else 2

    def create(self, parameters: Iterable[tuple[str, Tensor]]) -> TorchOptimizer:
        """The optimiser over these named parameters."""
        named: dict[str, list[tuple[str, Tensor]]] = {MUON: [], ADAMW: []}
        for name, parameter in parameters:
            named[MUON if self.is_muons(name, parameter) else ADAMW].append((name, parameter))
        groups = [
            {**group, "kind": kind}
            for kind, members in named.items()
            for group in partition(members, self.groups, lr=self.lr, weight_decay=self.weight_decay)
        ]
        common = {"lr": self.lr, "weight_decay": self.weight_decay}
        return MuonAdamW(
            groups,
            muon={**common, "momentum": self.momentum, "adjust_lr_fn": "match_rms_adamw"},
            adamw={**common, "betas": (self.beta1, self.beta2), "eps": self.eps, "fused": True},
        )

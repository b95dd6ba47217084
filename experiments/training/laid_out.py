"""Training a network that no process ever holds whole: laid out on the meta device, divided, filled row by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from backbones.base import Backbone
from experiments.training.ema import EMA
from experiments.training.module import TrainingModule
from experiments.training.pieces import Pieces
from experiments.training.sharding import divided, local, rows_like


class LaidOutModule(TrainingModule):
    """The same training as :class:`TrainingModule`'s, of a backbone on the meta device under FSDP2.

    A process holds its rows of the weights, averages and optimiser's state and, while it fills them, one whole
    parameter in float32. Of a checkpoint it reads its rows.
    """

    _state: Mapping[str, Any] | None = None

    def configure_model(self) -> None:
        """Divide the backbone and its averages; their rows are initial values, or a checkpoint's."""
        was_divided = self._divided
        super().configure_model()
        if was_divided:
            return
        assert self.device_mesh is not None
        assert isinstance(self.backbone, Backbone)
        state, self._state = self._state, None
        self._fill(self.backbone, state["backbone"] if state else _Initial(self.backbone, self.config.seed))
        for i, ema in enumerate(self.emas):
            assert isinstance(ema, EMA)
            self._fill(ema.network, state["emas"][i] if state else dict(self.backbone.named_parameters()))
        if self._optimizer_state is not None:
            self._optimizer_state = _divided(self._optimizer_state, self.device_mesh["data_parallel"])

    @torch.no_grad()
    def _fill(self, network: nn.Module, values: Any) -> None:
        network.to_empty(device=self.trainer.strategy.root_device)
        for name, parameter in network.named_parameters():
            local(parameter).copy_(rows_like(values[name], parameter))

    def restore(self, state: Mapping[str, Any], source: str) -> None:
        """Go on from a checkpoint, of whose weights names and shapes alone are looked at for now."""
        self._state = state
        outlines = {"backbone": _outline(state["backbone"]), "emas": [_outline(weights) for weights in state["emas"]]}
        super().restore({**state, **outlines}, source)


class _Initial:
    """The initial values of a backbone's parameters by name, made when they are asked for."""

    def __init__(self, backbone: Backbone, seed: int):
        self.backbone, self.seed = backbone, seed

    def __getitem__(self, name: str) -> Tensor:
        return self.backbone.initial_value(name, self.seed)


def _outline(weights: Mapping[str, Tensor | Pieces]) -> dict[str, Tensor]:
    return {name: torch.empty(value.shape, device="meta") for name, value in weights.items()}


def _divided(value: Any, mesh: Any) -> Any:
    """An optimiser's state with this process's rows of what lies in pieces."""
    if isinstance(value, Pieces):
        return divided(value, mesh)
    if isinstance(value, dict):
        return {name: _divided(item, mesh) for name, item in value.items()}
    return [_divided(item, mesh) for item in value] if isinstance(value, list) else value

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
    _start: Mapping[str, Tensor | Pieces] | None = None

    def configure_model(self) -> None:
        """Divide the backbone and its averages; their rows are initial values, or a checkpoint's."""
        was_divided = self._divided
        super().configure_model()
        if was_divided:
            return
        assert self.device_mesh is not None
        assert isinstance(self.backbone, Backbone)
        state, self._state = self._state, None
        initial = _Initial(self.backbone, self.config.seed, self._start or {})
        self._fill(self.backbone, state["backbone"] if state else initial)
        self._start = None
        for i, ema in enumerate(self.emas):
            assert isinstance(ema, EMA)
            self._fill(ema.network, state["emas"][i] if state else dict(self.backbone.named_parameters()))
        self._fill_teachers(state)
        if self._optimizer_state is not None:
            self._optimizer_state = _divided(self._optimizer_state, self.device_mesh["data_parallel"])

    def _fill_teachers(self, state: Mapping[str, Any] | None) -> None:
        """The trained network's weights, and the student's of a former phase (its own until there is one)."""
        teachers, kept = self.teachers, (state or {}).get("teacher") or {}
        if teachers.former is not None:
            former = kept.get("weights") or dict(self.backbone.named_parameters())
            self._fill(teachers.former.network, former)
        if teachers.trained is not None and teachers.trained.weights is not None:
            self._fill(teachers.trained.network, teachers.trained.weights)
            teachers.trained.weights = None

    @torch.no_grad()
    def _fill(self, network: nn.Module, values: Any) -> None:
        network.to_empty(device=self.trainer.strategy.root_device)
        for name, parameter in network.named_parameters():
            local(parameter).copy_(rows_like(values[name], parameter))

    def restore(self, state: Mapping[str, Any], source: str) -> None:
        """Go on from a checkpoint, of whose weights names and shapes alone are looked at for now."""
        self._state = state
        outlines: dict[str, Any] = {"backbone": _outline(state["backbone"])}
        outlines["emas"] = [_outline(weights) for weights in state["emas"]]
        if state.get("teacher"):
            outlines["teacher"] = {**state["teacher"], "weights": _outline(state["teacher"]["weights"])}
        super().restore({**state, **outlines}, source)

    def begin(self, weights: Mapping[str, Any]) -> None:
        """As :meth:`TrainingModule.begin`, of rows that are read when the network is divided."""
        self._start = weights


class _Initial:
    """The initial values of a backbone's parameters by name, made when they are asked for; some are given."""

    def __init__(self, backbone: Backbone, seed: int, given: Mapping[str, Tensor | Pieces]):
        self.backbone, self.seed, self.given = backbone, seed, given

    def __getitem__(self, name: str) -> Tensor | Pieces:
        if name in self.given:
            return self.given[name]
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

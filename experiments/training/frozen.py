"""Networks that teach a training and are not trained themselves."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from experiments.training.ema import EMA
from experiments.training.sharding import local
from objectives import Objective
from objectives.phases import phase_of


class Frozen(nn.Module):
    """A network in evaluation mode, without gradients, in float32 at least: called as the network is.

    Args:
        network: the network itself, which is changed in place.
        step: whether it is told the step's length; a length that it is not told is left out of the call.
        weights: what it is to be filled with, where it is on the meta device: tensors, or pieces of them.
    """

    def __init__(self, network: nn.Module, *, step: bool, weights: Mapping[str, Any] | None = None):
        super().__init__()
        self.network = network.requires_grad_(False).eval()
        self.network.to(torch.promote_types(next(network.parameters()).dtype, torch.float32))
        self.step, self.weights = step, weights
        self.train(False)

    def forward(self, z: Tensor, t: Tensor, condition: Any = None, step: Tensor | None = None) -> Tensor:
        return self.network(z, t, condition, step=step if self.step else None)

    def train(self, mode: bool = True) -> Frozen:
        """It stays in evaluation mode whatever the module around it does."""
        return super().train(False)

    @torch.no_grad()
    def take(self, network: nn.Module) -> None:
        """Become what ``network`` is now; both are divided alike, if they are."""
        own, its = ([local(each) for each in one.parameters()] for one in (self.network, network))
        torch._foreach_copy_(own, its)  # pyright: ignore[reportPrivateImportUsage]
        for buffer, other in zip(self.network.buffers(), network.buffers(), strict=True):
            buffer.copy_(other)


class Teachers(nn.Module):
    """Who teaches at each step of a training, as the objective asks.

    Where it has phases, the trained network teaches the first, and then the student as it was when the phase began:
    its trained weights, not their average. That is a copy, and part of a checkpoint.

    Args:
        backbone: the student.
        trained: the network of the run that the configuration names.
    """

    def __init__(self, objective: Objective, backbone: nn.Module, trained: Frozen | None):
        super().__init__()
        self.needs, self.phases, self.trained = objective.needs, objective.phases, trained
        phased = objective.needs.teacher == "phases" and objective.phases > 1
        self.former = Frozen(copy.deepcopy(backbone), step=objective.needs.step) if phased else None
        self.phase = 0

    @property
    def networks(self) -> list[nn.Module]:
        """Those that stand still, to be divided and compiled like the student."""
        return [one.network for one in (self.trained, self.former) if one is not None]

    def at(self, progress: float, backbone: nn.Module, average: EMA | None) -> dict[str, Any]:
        """What a loss is given beside its network at ``progress``; where a phase begins, the student is copied."""
        asked = {"average": average} if self.needs.average else {}
        if self.needs.teacher == "ema":
            return {"teacher": average, **asked}
        phase = phase_of(progress, self.phases)
        if self.former is not None and phase > self.phase:
            self.former.take(backbone)
            self.phase = phase
        return {"teacher": self.former if self.phase else self.trained, **asked}

    def checkpoint(self) -> dict[str, Any]:
        """What the rest of the training depends on."""
        if self.former is None:
            return {}
        return {"teacher": {"phase": self.phase, "weights": self.former.network.state_dict() if self.phase else {}}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        kept = state.get("teacher")
        if self.former is not None and kept is not None and kept["phase"]:
            self.former.network.load_state_dict(kept["weights"])
            self.phase = kept["phase"]

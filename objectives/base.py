"""What an objective is: a loss to train with, and the ODE to sample with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from objectives.condition import Condition
from objectives.draws import AnyDraws
from objectives.paths import Path

Network = Callable[..., Tensor]
"""network(z, t, condition, step=None) → raw output of z's shape; t and step are (B,)."""


@dataclass(frozen=True)
class Needs:
    """What an objective asks of backbone and trainer.

    Args:
        step: the network is told the step's length d.
        teacher: whose outputs the targets are made of: nobody's, those of an average of the network's own weights, of
            a network trained before, or of that in the first of several phases and then of the network itself as it
            was when the phase began.
        average: beside its teacher, an average of the network's own weights; `loss` is given it as ``average=``.
        jvp: forward-mode derivatives of the network, which `objectives.tangents.along` takes.
        pairs: batches that carry their own noise.
        labels: conditions that hold a class label.
        condition: conditions of whatever kind.
    """

    step: bool = False
    teacher: Literal["none", "ema", "frozen", "phases"] = "none"
    average: bool = False
    jvp: bool = False
    pairs: bool = False
    labels: bool = False
    condition: bool = False


@dataclass(frozen=True)
class Loss:
    """A batch's loss.

    Args:
        per_sample: (B,) the mean over each sample's elements, weighting included.
        logs: detached numbers by name.
        times: (B,) the path times that the losses belong to, where each has one.
        steps: (B,) the lengths d of the steps that they belong to, where each has one; 0 for the instantaneous ones.
    """

    per_sample: Tensor
    logs: dict[str, Tensor] = field(default_factory=dict)
    times: Tensor | None = None
    steps: Tensor | None = None


class Objective(nn.Module, ABC):
    """What is learned and how it is sampled.

    Usually without parameters; those it has are optimised and saved, never averaged. Shapes: x, z, noise (B, …);
    t, step (B,); times are path times, 0 data and 1 noise. All arithmetic of a loss is in x's dtype, in float32 at
    least, whatever the autocast state.
    """

    version: ClassVar[int] = 1
    path: Path
    needs: Needs
    solvers: tuple[str, ...]
    """Names of the legal solvers; the first is the default."""
    free_grid: ClassVar[bool] = True
    """Whether it can be sampled at other times than those of its own grid."""

    @property
    def batch_multiple(self) -> int:
        """A local batch must be a multiple of this, and start at a multiple of it in the global batch."""
        return 1

    @property
    def phases(self) -> int:
        """Equal parts of the training, at the start of each of which the teacher is taken anew."""
        return 1

    @property
    @abstractmethod
    def notation(self) -> str:
        """A short label, in the field's notation where there is one."""

    @abstractmethod
    def loss(
        self,
        network: Network,
        x: Tensor,
        condition: Condition,
        draws: AnyDraws,
        *,
        teacher: Network | None = None,
        progress: float = 0.0,
    ) -> Loss:
        """The training loss. All randomness comes from `draws`; `progress` in [0, 1] is the share of training done."""

    @abstractmethod
    def loss_at(self, network: Network, x: Tensor, condition: Condition, t: Tensor, noise: Tensor) -> Tensor:
        """(B,) the head's own regression error at times t, weighting left out."""

    @abstractmethod
    def predict(
        self, network: Network, z: Tensor, t: Tensor, condition: Condition, step: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(x̂, ε̂) at z."""

    @abstractmethod
    def velocity(
        self, network: Network, z: Tensor, t: Tensor, condition: Condition, step: Tensor | None = None
    ) -> Tensor:
        """dz/dτ at z; of a step-conditioned objective the mean of it over [t − step, t]."""

    @abstractmethod
    def time_grid(self, steps: int) -> Tensor:
        """(steps+1,) float64 path times, descending; the last is 0. ValueError for an illegal number of steps."""

    def prior(self, noise: Tensor) -> Tensor:
        """z at the first time of the grid, from standard normal noise."""
        return self.path.prior(noise)

    def label_time(self, label: Tensor) -> Tensor:
        """Path time (B,) of the noise label that the network is told."""
        return label


def stand_ins(objective: Objective, network: Network) -> dict[str, Any]:
    """What `loss` asks for beside the network, each part played by one network: to count, to time and to test."""
    return {"teacher": network} | ({"average": network} if objective.needs.average else {})


def count_steps(steps: int, largest: int | None = None) -> int:
    """`steps` if it is a legal number of solver steps, else ValueError."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1 or (largest is not None and steps > largest):
        allowed = "a whole number of at least 1" if largest is None else f"a whole number from 1 to {largest}"
        raise ValueError(f"the number of steps must be {allowed}, got {steps!r}")
    return steps

"""Learning-rate schedules: a factor on the base rate by the step, so that a resumed run needs no state."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol


class Schedule(Protocol):
    """A factor in [0, 1] for optimiser step ``step`` (counted from 0) of ``max_steps``."""

    warmup: int

    def __call__(self, step: int, max_steps: int) -> float: ...


def _warm(step: int, warmup: int) -> float:
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


def _progress(step: int, warmup: int, max_steps: int) -> float:
    return min(1.0, max(0.0, (step - warmup) / max(1, max_steps - warmup)))


def _check(warmup: int, final: float = 0.0) -> None:
    if warmup < 0:
        raise ValueError(f"warmup = {warmup}: a number of steps, 0 or more")
    if not 0 <= final <= 1:
        raise ValueError(f"final = {final}: the last factor on the learning rate, within [0, 1]")


@dataclass(frozen=True)
class Constant:
    """Linear warm-up over ``warmup`` steps, then constant."""

    warmup: int = 0
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check(self.warmup)

    def __call__(self, step: int, max_steps: int) -> float:
        return _warm(step, self.warmup)


@dataclass(frozen=True)
class Cosine:
    """Linear warm-up, then half a cosine from 1 to ``final`` at the last step."""

    warmup: int = 100
    final: float = 0.0
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check(self.warmup, self.final)

    def __call__(self, step: int, max_steps: int) -> float:
        decay = 0.5 * (1 + math.cos(math.pi * _progress(step, self.warmup, max_steps)))
        return _warm(step, self.warmup) * (self.final + (1 - self.final) * decay)


@dataclass(frozen=True)
class Linear:
    """Linear warm-up, then a straight line from 1 to ``final`` at the last step."""

    warmup: int = 100
    final: float = 0.0
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check(self.warmup, self.final)

    def __call__(self, step: int, max_steps: int) -> float:
        line = 1 - (1 - self.final) * _progress(step, self.warmup, max_steps)
        return _warm(step, self.warmup) * line


@dataclass(frozen=True)
class InverseSqrt:
    """EDM2's schedule: linear warm-up, constant until step ``t_ref``, then 1 / √(step / t_ref).

    Karras et al. 2024 (arXiv 2312.02696), eq. 67; theirs is 70,000 steps of 2,048 images on ImageNet-512, 35,000 on
    ImageNet-64, after a warm-up of 10 million images.
    """

    warmup: int = 100
    t_ref: int = 70_000
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check(self.warmup)
        if self.t_ref < 1:
            raise ValueError(f"t_ref = {self.t_ref}: a number of steps, 1 or more")

    def __call__(self, step: int, max_steps: int) -> float:
        return _warm(step, self.warmup) / math.sqrt(max(step / self.t_ref, 1.0))

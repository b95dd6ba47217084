"""Drawing samples: the same noise and the same conditions for every run on the same data."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from datamodules.base import DataModule
from experiments.evaluation.validation import to_device
from objectives import Draws, Objective, sample


@dataclass(frozen=True)
class Samples:
    """``x`` (N, …) on the CPU, the condition each was drawn under, NFE per sample, and seconds for each."""

    x: Tensor
    condition: dict[str, Tensor] | None
    nfe: int
    seconds_per_image: float

    def first(self, count: int) -> Samples:
        """The first ``count`` of them."""
        condition = self.condition and {name: value[:count] for name, value in self.condition.items()}
        return replace(self, x=self.x[:count], condition=condition)


@torch.no_grad()
def draw_samples(
    objective: Objective,
    network: Callable[..., Any],
    data: DataModule,
    *,
    steps: int,
    num: int,
    device: torch.device,
    guidance: float = 1.0,
    solver: str | None = None,
    seed: int = 0,
    batch_size: int = 512,
    check: Callable[[int], None] = lambda done: None,
) -> Samples:
    """``num`` samples in ``steps`` solver steps, float32.

    Sample i starts from the noise that (seed, i) names, under the condition of a training row that (seed, i) names:
    so the conditions are distributed as in training. ``check`` is called with the number done after each batch.
    """
    xs, conditions, nfe, seconds = [], [], 0, 0.0
    for index in torch.arange(num).split(batch_size):
        draws = Draws(seed, 0, index.to(device), num)
        noise = draws.normal("sample", (len(index), *data.spec.shape))
        condition = _condition(data, draws, device)
        _synchronise(device)
        started = time.perf_counter()
        x, nfe = sample(
            objective, network, noise, condition,
            steps=steps, solver=solver, guidance=guidance, draws=draws, return_nfe=True,
        )  # fmt: skip
        _synchronise(device)
        seconds += time.perf_counter() - started
        xs.append(x.cpu())
        conditions.append(condition)
        check(len(index))
    return Samples(torch.cat(xs), _concatenate(conditions), nfe, seconds / max(num, 1))


def _condition(data: DataModule, draws: Draws, device: torch.device) -> dict[str, Tensor] | None:
    dataset = data.dataset("train")
    rows = (draws.uniform("sample condition", (len(draws.index),)).cpu() * len(dataset)).long()
    return to_device(dataset[rows].get("condition"), device)


def _concatenate(conditions: list[dict[str, Tensor] | None]) -> dict[str, Tensor] | None:
    given = [condition for condition in conditions if condition is not None]
    return {name: torch.cat([one[name].cpu() for one in given]) for name in given[0]} if given else None


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

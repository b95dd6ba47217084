"""The rows that a trained model is asked about: held-out data, and what samples start from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from datamodules.base import DataModule
from objectives import Draws
from objectives.condition import Condition


class Batch(NamedTuple):
    """B rows on a device: data or noise x (B, …), the condition that goes with it, and the rows' random numbers."""

    x: Tensor
    condition: Condition
    draws: Draws


def starts(
    data: DataModule,
    num: int,
    *,
    seed: int,
    dtype: torch.dtype = torch.float32,
    batch_size: int = 512,
    device: torch.device | str = "cpu",
) -> Iterator[Batch]:
    """What `num` samples start from: standard normal noise in `dtype`, and a condition for each.

    Sample i starts from the noise that (seed, i) names, under the condition of a training row that (seed, i) names: so
    the conditions are distributed as in training.
    """
    for index in torch.arange(num).split(batch_size):
        draws = Draws(seed, 0, index.to(device), num)
        noise = draws.normal("sample", (len(index), *data.spec.shape), dtype)
        yield Batch(noise, drawn_condition(data, draws, "sample condition", device), draws)


def drawn_condition(data: DataModule, draws: Draws, name: str, device: torch.device | str) -> Condition:
    """The conditions of real training rows, chosen by the uniform draw `name`; None where the data have none."""
    dataset = data.real.dataset("train")
    rows = (draws.uniform(name, (len(draws.index),)).cpu() * len(dataset)).long()
    return to_device(dataset[rows].get("condition"), device)


def heldout(
    data: DataModule,
    num: int,
    *,
    seed: int,
    dtype: torch.dtype = torch.float32,
    batch_size: int = 512,
    device: torch.device | str = "cpu",
    multiple: int = 1,
    step: int = 0,
) -> Iterator[Batch]:
    """The first rows of the held-out split, `num` or as many as there are, in `dtype`.

    Args:
        multiple: every batch is a multiple of this; rows that are left over are left out.
        step: of the random numbers, of which row i's are a function of (seed, step, i).
    """
    dataset = data.real.dataset("validation")
    count = min(num, len(dataset)) // multiple * multiple
    if not count:
        return
    for index in torch.arange(count).split(max(batch_size // multiple, 1) * multiple):
        batch = to_device(dataset[index], device)
        yield Batch(batch["x"].to(dtype), batch.get("condition"), Draws(seed, step, index.to(device), count))


def to_device(batch: Any, device: torch.device | str) -> Any:
    """A batch (tensors, nested in dicts) on `device`."""
    if isinstance(batch, dict):
        return {name: to_device(value, device) for name, value in batch.items()}
    return batch.to(device) if isinstance(batch, Tensor) else batch

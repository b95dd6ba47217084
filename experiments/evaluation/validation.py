"""The validation loss at 8 times (SD3 §5.1's protocol), the same noise for every run and every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from datamodules.base import DataModule
from experiments import chaos
from experiments.batches import to_device
from objectives import Draws, Objective

TIMES = tuple((i + 0.5) / 8 for i in range(8))
_SEED = 8  # of the validation noise, whatever the run's seed: losses of different seeds are comparable


@torch.no_grad()
def validation_losses(
    objective: Objective,
    network: Callable[..., Any],
    data: DataModule,
    *,
    device: torch.device,
    batch_size: int = 512,
    num: int | None = None,
    world: bool = False,
    check: Callable[[], None] = lambda: None,
) -> list[float]:
    """The head's regression error at each of TIMES, mean over the validation split or its first ``num`` rows, every row
    counted once.

    With ``world`` the rows are shared out over the ranks and all of them get the whole split's means; every rank asks
    the network equally often, the last time perhaps with a row that does not count. ``check`` is called before every
    batch; where it raises, the network is as it was.
    """
    dataset = data.dataset("validation")
    size = min(len(dataset), num or len(dataset))
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if world and dist.is_initialized() else (0, 1)
    was_training = getattr(network, "training", False)
    _set_training(network, False)
    sums = torch.zeros(len(TIMES), dtype=torch.float64)
    try:
        for index in torch.arange(rank, -(-size // ranks) * ranks, ranks).split(batch_size):
            check()
            chaos.reach("validation")
            rows, counted = index.clamp(max=size - 1), (index < size).to(device)
            batch = to_device(dataset[rows], device)
            draws = Draws(_SEED, 0, rows.to(device), len(dataset))
            for i, time in enumerate(TIMES):
                noise = draws.normal(f"validation noise {i}", batch["x"].shape)
                t = torch.full((len(rows),), time, device=device)
                losses = objective.loss_at(network, batch["x"], batch.get("condition"), t, noise)
                sums[i] += losses[counted].double().sum().cpu()
    finally:
        _set_training(network, was_training)
    if ranks > 1:
        dist.all_reduce(on_device := sums.to(device))
        sums = on_device.cpu()
    return (sums / size).tolist()


def _set_training(network: Any, mode: bool) -> None:
    if isinstance(network, torch.nn.Module):
        network.train(mode)

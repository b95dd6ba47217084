"""How long a step takes here: a few steps of one cell of each kind, nothing written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from experiments.components import build
from experiments.config import Config
from experiments.grid.costs import Kind, kind_of
from objectives import Draws
from objectives.base import stand_ins

SECONDS = 1.0
"""The steps of a kind go on for so long after the first few."""
FIRST = 3
"""Steps before the clock starts."""
AT_LEAST = 3


def measured(configs: Sequence[Config], *, say: Callable[[str], None] = lambda told: None) -> dict[Kind, float]:
    """Seconds per training step by kind: batch, draws, loss, gradient, clipping, optimiser and one average.

    What else a run does (logging, checkpoints, validation, evaluation) is left out; it takes a few percent of a run
    of ordinary length.
    """
    found: dict[Kind, float] = {}
    kinds = {kind_of(config): config for config in configs}
    with _settings_restored():
        for kind, config in kinds.items():
            found[kind] = _seconds(config)
            label = f"{config.objective.label} {config.backbone.label} {config.data.label}"
            say(f"{label}: {found[kind] * 1e3:.1f} ms a step")
    return found


def _seconds(config: Config) -> float:
    steps = _steps(replace(config, seed=0))
    for _ in range(FIRST):
        next(steps)
    began, count = time.perf_counter(), 0
    while count < AT_LEAST or time.perf_counter() - began < SECONDS:
        next(steps)
        count += 1
    return (time.perf_counter() - began) / count


def _steps(config: Config) -> Iterator[None]:
    """Training steps without an end, on the processor that the run would take, waited for one by one."""
    on_gpu = config.trainer.accelerator != "cpu" and torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    parts = build(config)
    parts.data.setup()
    network, objective, dataset = parts.backbone.to(device), parts.objective.to(device), parts.data.dataset("train")
    weights: list[torch.Tensor] = [*network.parameters(), *objective.parameters()]
    shadow = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.AdamW(weights, lr=1e-4)
    size = config.trainer.batch_size
    half = torch.autocast(device.type, torch.bfloat16, enabled=config.trainer.precision.startswith("bf16"))
    for step in range(1 << 30):
        rows = torch.arange(step * size, (step + 1) * size) % len(dataset)
        batch = _moved(dict(dataset[rows]), device)
        draws = Draws(0, step, torch.arange(size, device=device), size)
        if objective.needs.pairs:
            draws = draws.given(noise=draws.normal("pair noise", tuple(batch["x"].shape)))  # pairs need not be there
        with half:
            parts = stand_ins(objective, network)
            loss = objective.loss(network, batch["x"], batch.get("condition"), draws, **parts)
        optimizer.zero_grad()
        loss.per_sample.mean().backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(shadow, weights, 0.001)  # pyright: ignore[reportPrivateImportUsage]
        if on_gpu:
            torch.cuda.synchronize()
        yield


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    return value.to(device) if isinstance(value, torch.Tensor) else value


@contextmanager
def _settings_restored() -> Iterator[None]:
    """Threads as they were: a configuration may set them."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)

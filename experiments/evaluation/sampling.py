"""Drawing samples: the same noise and the same conditions for every run on the same data."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from datamodules.base import DataModule
from experiments.batches import starts
from experiments.config.faults import ConfigError
from experiments.config.plugins import resolve_plugin
from experiments.errors import UserError
from objectives import Guidance, Objective, sample
from objectives.sampling import Sampler
from objectives.solvers import Solver
from objectives.time_grids import TimeGrid


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
    guidance: float | Guidance = 1.0,
    solver: str | Solver | None = None,
    grid: str | TimeGrid | None = None,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    batch_size: int = 512,
    check: Callable[[int], None] = lambda done: None,
    watch: Callable[[int, float, Tensor], None] | None = None,
) -> Samples:
    """``num`` samples in ``steps`` solver steps, computed in ``dtype`` around a network in its own.

    Noise and conditions are those of ``starts``. ``check`` is called with the number done after each batch, ``watch``
    with (steps done, path time, z_t) before the first and after every step of each batch.
    """
    xs, conditions, nfe, seconds = [], [], 0, 0.0
    own = network_dtype(network)
    for batch in starts(data, num, seed=seed, dtype=dtype, batch_size=batch_size, device=device):
        if watch is not None:
            watch(0, float(Sampler(objective, network, solver, grid=grid).times(steps)[0]), objective.prior(batch.x))
        _synchronise(device)
        started = time.perf_counter()
        x, nfe = sample(
            objective, network, batch.x, batch.condition, steps=steps, solver=solver, guidance=guidance, grid=grid,
            network_dtype=own, draws=batch.draws, on_step=watch, return_nfe=True,
        )  # fmt: skip
        _synchronise(device)
        seconds += time.perf_counter() - started
        xs.append(x.cpu())
        conditions.append(batch.condition)
        check(len(batch.x))
    return Samples(torch.cat(xs), _concatenate(conditions), nfe, seconds / max(num, 1))


def plugin(group: str, word: str, chosen: Any) -> Any:
    """A plugin object from its name with options, as a configuration writes it; an object stays what it is.

    Raises a UserError for a name or an option that there is not; ``word`` names the setting.
    """
    if not isinstance(chosen, str):
        return chosen
    try:
        return resolve_plugin(group, chosen).build()
    except ConfigError as error:
        raise UserError(f"{word}={chosen}: {error}") from error


def legal_steps(objective: Objective, wanted: int) -> int:
    """The largest number of solver steps up to ``wanted`` that the objective takes; 1 where it takes none of them."""
    for steps in range(wanted, 1, -1):
        with suppress(ValueError):
            objective.time_grid(steps)
            return steps
    return 1


def network_dtype(network: Callable[..., Any]) -> torch.dtype | None:
    """The dtype of a network's weights; None where it has none, or casts what it is fed itself (half precision)."""
    parameters = network.parameters() if isinstance(network, torch.nn.Module) else iter(())
    found = next((parameter.dtype for parameter in parameters), None)
    return found if found in (torch.float32, torch.float64) else None


def _concatenate(conditions: list[dict[str, Tensor] | None]) -> dict[str, Tensor] | None:
    given = [condition for condition in conditions if condition is not None]
    return {name: torch.cat([one[name].cpu() for one in given]) for name in given[0]} if given else None


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

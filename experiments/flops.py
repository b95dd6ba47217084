"""Floating-point operations of a training step, and how many a device can do."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from backbones.spec import inputs_of
from experiments.config import Plugin
from experiments.config.plugins import resolve_plugin
from experiments.shapes import Shapes, Unknown
from objectives import Draws, Objective
from objectives.base import stand_ins
from objectives.sampling import Sampler

PEAKS: tuple[tuple[str, float, float, float], ...] = (
    ("B200", 2250e12, 1100e12, 75e12),
    ("H200", 989e12, 494e12, 67e12),
    ("H100 PCIe", 756e12, 378e12, 51e12),
    ("H100 NVL", 835e12, 417e12, 60e12),
    ("GH200", 989e12, 494e12, 67e12),
    ("H100", 989e12, 494e12, 67e12),
    ("A100", 312e12, 156e12, 19.5e12),
    ("A10G", 125e12, 62.5e12, 31.2e12),
    ("A40", 149.7e12, 74.8e12, 37.4e12),
    ("A6000", 154.8e12, 77.4e12, 38.7e12),
    ("L40S", 362e12, 183e12, 91.6e12),
    ("L4", 121e12, 60e12, 30.3e12),
    ("RTX 4090", 165.2e12, 82.6e12, 82.6e12),
    ("RTX 3090", 71e12, 35.6e12, 35.6e12),
)
"""Part of a device's name, and its dense peak in FLOP/s in bfloat16, TF32 and float32 by the maker's data sheets.

The first that fits counts.
"""


def peak(device: torch.device, precision: str) -> float | None:
    """Largest FLOP/s of a device in a precision of ``trainer.precision``; None where it is not known (as on a CPU)."""
    return named_peak(torch.cuda.get_device_name(device), precision) if device.type == "cuda" else None


def named_peak(name: str, precision: str) -> float | None:
    """The same by the device's name; float32 is TF32 where torch is allowed to take that."""
    if precision.startswith("bf16"):
        column = 1
    elif precision.startswith("32"):
        column = 3 if torch.get_float32_matmul_precision() == "highest" else 2
    else:
        return None
    return next((row[column] for row in PEAKS if row[0] in name), None)  # pyright: ignore[reportReturnType]


def forward_flops(backbone: Plugin, spec: Any, *, step: bool) -> int:
    """FLOPs of one sample's forward pass (a multiply-add is two), counted on the meta device."""
    with torch.device("meta"):
        return network_flops(backbone.build(spec=spec, step=step))


def network_flops(network: Any) -> int:
    """The same of a backbone that is on the meta device already."""
    spec = network.spec
    z, t = (torch.empty(shape, device="meta") for shape in ((1, *spec.shape), (1,)))
    asked = (z, t, _condition(spec, 1, "meta"), t if network.step else None)
    with suppress(Unknown), torch.no_grad(), Shapes() as shapes:
        network(*asked)
        return shapes.flops
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*asked)
    return counter.get_total_flops()


def flops_per_sample(objective: Objective, backbone: Plugin, spec: Any, *, batch: int | None = None) -> float:
    """Model FLOPs of training on one sample: three times the forward pass's where there is a gradient, else once.

    What is computed twice to save memory does not count, nor do forward-mode derivatives.
    """
    return passes_per_sample(objective, spec, batch=batch) * forward_flops(backbone, spec, step=objective.needs.step)


def passes_per_sample(objective: Objective, spec: Any, *, batch: int | None = None) -> float:
    """Forward passes that training on one sample costs, a pass with a gradient being three: all of :func:`passes`."""
    return sum(passes(objective, spec, batch=batch))


def passes(objective: Objective, spec: Any, *, batch: int | None = None) -> tuple[float, float]:
    """Forward passes that training on one sample costs, of networks like the trained one and of another run's.

    A pass with a gradient counts as three. The other run's is a frozen teacher's, where the training has phases the
    first one's alone: later it is the student's own.

    How often an objective asks each, for how many rows, is counted by stand-ins; where there are phases, in the middle
    of each. So many rows of a micro-batch as in `batch` are counted (a few where it is None), which matters where an
    objective rounds up a share of them; how large each is does not.
    """
    rows = batch or objective.batch_multiple * math.ceil(8 / objective.batch_multiple)

    def counting(asked: list[int]) -> Any:
        def network(z: Tensor, *_: Any, **__: Any) -> Tensor:
            asked.append(len(z) * (3 if torch.is_grad_enabled() else 1))
            return z * torch.ones((), requires_grad=True)

        return network

    x, condition = torch.zeros(rows, *(1 for _ in spec.shape)), _condition(spec, 1)
    if condition is not None:
        condition = {name: one.new_zeros(rows, *(1 for _ in one.shape[1:])) for name, one in condition.items()}
    draws = Draws(0, 0, torch.arange(rows), rows)
    if objective.needs.pairs:
        draws = draws.given(noise=torch.zeros_like(x))
    own, other = list[int](), list[int]()
    with torch.enable_grad():
        for phase in range(objective.phases):
            progress = (phase + 0.5) / objective.phases
            parts = stand_ins(objective, counting(own))
            if objective.needs.teacher in ("frozen", "phases") and phase == 0:
                parts["teacher"] = counting(other)
            objective.loss(counting(own), x, condition, draws, progress=progress, **parts)
    total = rows * objective.phases
    return sum(own) / total, sum(other) / total


def evaluations_per_sample(objective: Objective, steps: int, solver: str, guidance: float) -> int:
    """Network evaluations of a sample of so many solver steps, two for each where it is guided."""
    asked = list[int]()

    def network(z: Tensor, *_: Any, **__: Any) -> Tensor:
        asked.append(len(z))
        return torch.zeros_like(z)

    sampler = Sampler(objective, network, resolve_plugin("solvers", solver).build())
    sampler.run(objective.prior(torch.zeros(1, 1)), sampler.times(steps), None)
    return sum(asked) * (1 if guidance == 1 else 2)


def _condition(spec: Any, rows: int, device: str = "cpu") -> dict[str, Tensor] | None:
    """A condition of the right shapes."""
    dtypes = {True: torch.int64, False: torch.float32}
    return {
        name: torch.zeros(rows, *shape, dtype=dtypes[integers], device=device)
        for name, (shape, integers) in inputs_of(spec).items()
    } or None

"""What a shortcut step costs beside a flow-matching step, in time and in memory.

Theory for a share k of self-consistency rows: 1 + 2k/3 of the time, and of the memory no more, since the teacher's half
steps keep nothing for a gradient and are over before the step's own forward pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from datamodules.synthetic import Synthetic
from experiments.bench.memory import peak_bytes
from experiments.bench.timing import Paired, paired
from experiments.components import Components
from experiments.config import parse, resolve
from experiments.training.ema import EMA
from objectives import Draws

_LATENTS = Synthetic()


def measure(*, pairs: int = 7, threads: int = 2) -> list[Paired]:
    """DiT-S/2 at batch 16 on 32×32×4 latents, and each tiny backbone on digits at batch 64."""
    torch.set_num_threads(threads)
    cases: list[tuple[str, dict[str, Any], Synthetic | None, int, int]] = [
        ("DiT-S/2, 32×32×4, batch 16", {"backbone": "DiT-S/2"}, Synthetic(), 16, 1),
        *((f"{name} on digits, batch 64", {"backbone": name}, None, 64, 20) for name in ("dit", "u-vit", "mmdit")),
    ]
    return [
        paired(name, _step("rf", given, data, batch, steps), _step("shortcut", given, data, batch, steps), pairs=pairs)
        for name, given, data, batch, steps in cases
    ]


@dataclass(frozen=True)
class Memory:
    """The most bytes held at once in building a network and taking two training steps, by flow matching and by another.

    Weights, gradients, the optimiser's moments, the average and what autograd keeps are all in them.
    """

    name: str
    flow: int
    other: int

    @property
    def ratio(self) -> float:
        return self.other / self.flow


def measure_memory(
    backbone: str = "DiT-S/2", data: Synthetic | None = _LATENTS, *, batch: int = 16, threads: int = 2
) -> Iterator[Memory]:
    """Shortcut, plain and guided, beside flow matching: by default DiT-S/2 on 4×32×32 latents."""
    torch.set_num_threads(threads)
    given = {"backbone": backbone}
    flow = peak_bytes(lambda: _twice("rf", given, data, batch))
    others: dict[str, Any] = {
        "shortcut": "shortcut",
        "shortcut, guidance 1.5": {"name": "shortcut", "guidance": 1.5},
        "shortcut, guidance 1.5, bias 0": {"name": "shortcut", "guidance": 1.5, "bias": 0},
    }
    for name, objective in others.items():
        yield Memory(name, flow, peak_bytes(lambda chosen=objective: _twice(chosen, given, data, batch)))


def _twice(objective: Any, given: dict[str, Any], data: Synthetic | None, batch: int) -> None:
    """Two steps: the optimiser's moments are there from the end of the first."""
    _step(objective, given, data, batch, 2)()


def _step(objective: Any, given: dict[str, Any], data: Synthetic | None, batch: int, steps: int) -> Callable[[], float]:
    """A function that trains ``steps`` steps and returns the seconds for each."""
    config = resolve(parse({"objective": objective, **given}))
    chosen, built = data or config.data.build(), config.objective.build()
    backbone = config.backbone.build(spec=chosen.spec, step=built.needs.step)
    backbone.initialise(0)
    parts, ema = Components(chosen, built, backbone), EMA(backbone, 0.999)
    optimizer = torch.optim.AdamW(backbone.parameters(), lr=1e-4, fused=True)
    rows = parts.data.dataset("train")[torch.arange(batch)]
    count = 0

    def run() -> float:
        nonlocal count
        started = time.perf_counter()
        for _ in range(steps):
            count += 1
            draws = Draws(0, count, torch.arange(batch), batch)
            loss = built.loss(backbone, rows["x"], rows["condition"], draws, teacher=ema)
            optimizer.zero_grad()
            loss.per_sample.mean().backward()
            torch.nn.utils.clip_grad_norm_(backbone.parameters(), 1.0, foreach=True)
            optimizer.step()
            ema.update(backbone, count)
        return (time.perf_counter() - started) / steps

    return run

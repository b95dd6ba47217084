"""What each objective costs per training step: its passes through the network, counted and timed, and all the rest.

Times are the process's processor time, on one thread by default: what else the machine does is not in them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from datamodules.synthetic import Synthetic
from experiments.bench.timing import Paired, paired
from experiments.config import parse, resolve
from experiments.registry import entries
from experiments.training.ema import EMA
from objectives import Draws, FlowMatching, Network, Objective
from objectives.base import stand_ins
from objectives.tangents import along

BACKWARD = 2
"""A backward pass in units of a forward pass: one product for the inputs' gradient and one for the weights'.

A pass with a derivative is 2 by count, but it cannot use fused attention: what it costs is timed."""

HEADINGS = (
    "objective", "forward", "backward", "derivative", "counted", "measured", "lowest, highest", "off by", "ms",
    "no network",
)  # fmt: skip


@dataclass(frozen=True)
class Passes:
    """Rows that a step sends through a network, in batches: forward, back, and forward with a derivative."""

    forward: float
    backward: float
    derivative: float = 0.0

    def units(self, derivative: float = 0.0) -> float:
        """In forward passes, of which one with a derivative costs so many."""
        return self.forward + BACKWARD * self.backward + derivative * self.derivative


@dataclass(frozen=True)
class Cost:
    """One objective's step: what it should cost, the whole of it beside rf's, and all but the network beside itself."""

    name: str
    passes: Passes
    theory: float
    whole: Paired
    rest: Paired

    @property
    def excess(self) -> float:
        """The measured ratio over the counted one, less 1."""
        return self.whole.ratio / self.theory - 1


class Case:
    """A backbone on data, and one batch of them.

    Args:
        backbone: a preset's name.
        data: a data module's name, or one.
        batch: rows.
        steps: steps that are timed together.
    """

    def __init__(self, backbone: str, data: str | Synthetic, *, batch: int, steps: int) -> None:
        config = resolve(parse({"backbone": backbone} | ({"data": data} if isinstance(data, str) else {})))
        self.config, self.batch, self.steps = config, batch, steps
        self._doubled = partial(Case, backbone, data, batch=2 * batch, steps=steps)
        self.data = config.data.build() if isinstance(data, str) else data
        rows = self.data.dataset("train")[torch.arange(batch)]
        self.x: Tensor = rows["x"]
        self.condition: dict[str, Tensor] | None = rows.get("condition")
        shape = " × ".join(map(str, self.data.spec.shape))
        self.name = f"{config.backbone.label} on {config.data.label if isinstance(data, str) else shape}, batch {batch}"

    def fitting(self, objective: Objective) -> Case:
        """This case, or the same at the least batch, doubled, that the objective divides as it has to."""
        try:
            self.passes(objective)
        except ValueError:
            if 2 * self.batch > len(self.data.dataset("train")):
                raise
            return self._doubled().fitting(objective)
        return self

    def network(self, objective: Objective) -> nn.Module:
        """The backbone as this objective needs it, initialised."""
        backbone = self.config.backbone.build(spec=self.data.spec, step=objective.needs.step)
        backbone.initialise(0)
        return backbone

    def gradients(self, objective: Objective, network: Network, teacher: Network, step: int) -> None:
        """A training step but for the optimiser: draws, path, head, loss, forward and backward."""
        draws = Draws(0, step, torch.arange(self.batch), self.batch)
        if objective.needs.pairs:
            draws = draws.given(noise=torch.zeros_like(self.x))
        parts = stand_ins(objective, teacher)
        objective.loss(network, self.x, self.condition, draws, **parts).per_sample.mean().backward()

    def seconds(self, objective: Objective, network: Network, teacher: Network) -> Callable[[], float]:
        """A function that takes ``steps`` steps and returns the processor seconds for each."""
        count = 0
        parameters = list(network.parameters()) if isinstance(network, nn.Module) else []

        def run() -> float:
            nonlocal count
            started = time.process_time()
            for _ in range(self.steps):
                count += 1
                for parameter in parameters:
                    parameter.grad = None
                self.gradients(objective, network, teacher, count)
            return (time.process_time() - started) / self.steps

        return run

    def passes(self, objective: Objective) -> Passes:
        """What a step asks of the networks, counted at a network that only multiplies."""
        counter = Counting()
        self.gradients(objective, counter, counter, 1)
        return Passes(*(count / self.batch for count in (counter.forward, counter.backward, counter.derivative)))

    def derivative(self, *, pairs: int) -> Paired:
        """A pass with a derivative along a direction beside rf's step."""
        flow = FlowMatching()
        network, other = self.network(flow), self.network(flow)
        t = torch.full((self.batch,), 0.5)

        def derive() -> float:
            started = time.process_time()
            for _ in range(self.steps):
                along(lambda z, t: other(z, t, self.condition), (self.x, t), (self.x, t))
            return (time.process_time() - started) / self.steps

        return paired("derivative", self.seconds(flow, network, network), derive, pairs=pairs)


class Counting:
    """A network that costs nothing and counts the rows that go through it, and that gradients reach."""

    def __init__(self) -> None:
        self.weight = torch.ones((), requires_grad=True)
        self.forward = self.backward = self.derivative = 0

    def __call__(self, z: Tensor, t: Tensor, condition: Any = None, step: Tensor | None = None) -> Tensor:
        if forward_ad.unpack_dual(z).tangent is None:
            self.forward += len(z)
        else:
            self.derivative += len(z)
        out = self.weight * z
        if out.requires_grad:
            out.register_hook(self._reached)
        return out

    def _reached(self, gradient: Tensor) -> None:
        self.backward += len(gradient)


class Free:
    """A network that costs nothing: the same output whatever it is asked, with a place for its gradient."""

    def __init__(self, like: Tensor) -> None:
        self.out = torch.zeros_like(like, requires_grad=True)

    def __call__(self, z: Tensor, t: Tensor, condition: Any = None, step: Tensor | None = None) -> Tensor:
        return self.out if len(z) == len(self.out) else self.out[: len(z)]


def objectives() -> dict[str, Objective]:
    """Every registered objective with its defaults."""
    return {name: entry.load()() for name, entry in entries("objectives").items()}


def cases() -> Iterator[Case]:
    """DiT-S/2 on 32×32×4 latents at batch 4 (live reflow's at 8), and the small DiT on digits at batch 64.

    A step of a second or two: the speed of a shared machine changes within ten, and a pair should not see that.
    """
    yield Case("DiT-S/2", Synthetic(), batch=4, steps=1)
    yield Case("dit", "digits", batch=64, steps=20)


def measure(case: Case, chosen: dict[str, Objective], *, pairs: int) -> Iterator[Cost]:
    """The costs of objectives, each against plain rf, pair by pair."""
    flow, given, derivative = FlowMatching(), case, 0.0
    if any(objective.needs.jvp for objective in chosen.values()):
        derivative = case.derivative(pairs=pairs).ratio * case.passes(flow).units()
    for name, objective in chosen.items():
        case = given.fitting(objective)
        baseline, network = case.network(flow), case.network(objective)
        teacher = EMA(network, 0.999)
        step, free = case.seconds(objective, network, teacher), Free(case.x)
        whole = paired(name, case.seconds(flow, baseline, baseline), step, pairs=pairs)
        alone = case.seconds(objective, free, free)
        alone()
        rest = Paired(name, whole.candidate, tuple(alone() for _ in whole.candidate))
        passes = case.passes(objective)
        yield Cost(name, passes, passes.units(derivative) / case.passes(flow).units(), whole, rest)


def table(*, pairs: int, threads: int, only: str = "") -> Iterator[str]:
    """Lines of a Markdown table for each case, of the objectives whose names contain ``only``."""
    torch.set_num_threads(threads)
    chosen = {name: objective for name, objective in objectives().items() if only in name}
    for case in cases():
        yield from (case.name, "")
        yield _row(HEADINGS)
        yield _row((":--", *["--:"] * (len(HEADINGS) - 1)))
        yield from (_line(cost) for cost in measure(case, chosen, pairs=pairs))
        yield ""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _line(cost: Cost) -> str:
    low, high = cost.whole.spread
    return _row((
        cost.name,
        f"{cost.passes.forward:g}",
        f"{cost.passes.backward:g}",
        f"{cost.passes.derivative:g}",
        f"{cost.theory:.3f}",
        f"**{cost.whole.ratio:.3f}**",
        f"{low:.3f}, {high:.3f}",
        f"{cost.excess:+.1%}",
        f"{1000 * statistics.median(cost.whole.candidate):,.0f}",
        f"{cost.rest.ratio:.2%}",
    ))  # fmt: skip

"""What our DiT and MM-DiT cost beside diffusers' with the same weights on the same inputs: time and peak memory.

On the CPU times are the process's processor time, on one thread by default: what else the machine does is not in them.
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from backbones import Backbone, DiT, MMDiT
from backbones.pretrained import LAYOUTS, Sizes, to_theirs
from experiments.bench.memory import peak_bytes
from experiments.bench.timing import Paired, paired
from experiments.errors import UserError

BOUND = 1.03
"""The most that ours may cost, in units of the peer's time or memory."""
AGREE = 1e-4
"""How far outputs may differ, in units of the largest: both have to do the same work."""
EXTRA = "fewstep bench backbones compares with diffusers, which is not installed here: pip install 'fewstep[unet]'"


@dataclass(frozen=True)
class Case:
    """A family, its sizes, and the layout by which diffusers' class has the same weights."""

    name: str
    layout: str
    family: type[Backbone]
    sizes: Sizes
    batch: int
    options: dict[str, Any] = field(default_factory=dict)

    def of_depth(self, depth: int | None) -> Case:
        """The same with another number of blocks: a compiler's work grows with it. None changes nothing."""
        if depth is None:
            return self
        options = {**self.options, "depth": depth}
        if "self_attention" in options:
            options["self_attention"] = tuple(i for i in options["self_attention"] if i < depth)
        return replace(self, name=f"{self.name}, {depth} blocks", options=options)

    def network(self) -> Backbone:
        """Ours, without a weight at zero: at the published start hardly anything flows."""
        network = self.family(self.sizes, **self.options)
        network.initialise(0)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
        return network

    def peer(self, network: Backbone) -> nn.Module:
        """diffusers' network with the same weights.

        Raises:
            UserError: diffusers is not installed.
        """
        try:
            diffusers: Any = importlib.import_module("diffusers")
        except ImportError as error:
            raise UserError(EXTRA) from error
        layout = LAYOUTS[self.layout]
        config = layout.config(network) or {}
        made = getattr(diffusers, config["_class_name"])(**{k: v for k, v in config.items() if not k.startswith("_")})
        made.load_state_dict(to_theirs(layout, network, network.state_dict()), strict=True)
        return made.eval()

    def inputs(self, device: torch.device) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """z, t and a condition with nothing dropped."""
        generator = torch.Generator().manual_seed(1)
        z, t = torch.randn(self.batch, *self.sizes.shape, generator=generator), torch.rand(self.batch)
        if self.sizes.context is None:
            condition = {"label": torch.arange(self.batch) % self.sizes.num_classes}
        else:
            condition = {
                "context": torch.randn(self.batch, *self.sizes.context, generator=generator),
                "pooled": torch.randn(self.batch, self.sizes.pooled, generator=generator),
            }
        return z.to(device), t.to(device), {name: value.to(device) for name, value in condition.items()}

    def calls(self, device: torch.device, *, compiled: bool) -> tuple[Step, Step]:
        """diffusers' step and ours.

        Raises:
            RuntimeError: they do not compute the same.
        """
        own = self.network()
        theirs = self.peer(own).to(device)
        own.to(device)
        z, t, condition = self.inputs(device)
        for network in (theirs, own):
            if compiled:
                network.compile()

        def ask() -> Tensor:
            if self.sizes.context is None:
                return theirs(z, timestep=1000 * t - 1, class_labels=condition["label"], return_dict=False)[0]
            known = {"encoder_hidden_states": condition["context"], "pooled_projections": condition["pooled"]}
            return theirs(z, timestep=1000 * t, return_dict=False, **known)[0]

        steps = Step(theirs, ask), Step(own, lambda: own(z, t, condition))
        wanted, given = (step.ask().detach() for step in steps)
        if float((given - wanted).abs().max()) > AGREE * float(wanted.abs().max()):
            raise RuntimeError(f"{self.name}: diffusers' class computes something else")
        return steps


@dataclass(frozen=True)
class Step:
    """A forward and a backward pass of a network."""

    network: nn.Module
    ask: Callable[[], Tensor]

    def __call__(self) -> None:
        for parameter in self.network.parameters():
            parameter.grad = None
        self.ask().square().mean().backward()

    def seconds(self) -> float:
        """Of one step: processor time on the CPU, time until it is done on a GPU."""
        gpu = next(self.network.parameters()).is_cuda
        clock = time.perf_counter if gpu else time.process_time
        if gpu:
            torch.cuda.synchronize()
        started = clock()
        self()
        if gpu:
            torch.cuda.synchronize()
        return clock() - started

    def peak(self) -> int:
        """The most bytes that a step holds beyond the weights, its gradients among them."""
        for parameter in self.network.parameters():
            parameter.grad = None
        if not next(self.network.parameters()).is_cuda:
            return peak_bytes(self)
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        self()
        return torch.cuda.max_memory_allocated() - held


@dataclass(frozen=True)
class Cost:
    """A case's times pair by pair, diffusers' being the baseline, and the bytes of either."""

    name: str
    time: Paired
    theirs: int
    ours: int

    @property
    def memory(self) -> float:
        """Our peak memory over diffusers'."""
        return self.ours / self.theirs


def cases() -> Iterator[Case]:
    """DiT-S/2 and an MM-DiT of its width with every part that diffusers has, on 4×32×32 latents; about a second each.

    The speed of a shared machine changes within ten seconds, and a pair should not see that.
    """
    latents = (4, 32, 32)
    dit = {**DiT.presets["DiT-S/2"], "time_offset": -1.0, "frequency_shift": 1, "mlp_norm_eps": 1e-5}
    yield Case("DiT-S/2, batch 2", "diffusers-dit", DiT, Sizes(latents, num_classes=1000), 2, dit)
    text = Sizes(latents, context=(77, 768), pooled=768)
    plain = {**MMDiT.presets["MMDiT-d6"], "max_size": 16, "learned_null": False}
    yield Case("MMDiT-d6, 77 context tokens, batch 2", "diffusers-sd3", MMDiT, text, 2, plain)
    full = {**plain, "qk_norm": True, "self_attention": (0, 1, 2)}
    name = "MMDiT-d6 with QK-norm and the patches' own attention, batch 2"
    yield Case(name, "diffusers-sd3", MMDiT, text, 2, full)


def measure(case: Case, *, pairs: int, compiled: bool = False, device: str = "cpu") -> Cost:
    """One case: as many steps of either as there are pairs, in turn, and one of each for its memory."""
    theirs, ours = case.calls(torch.device(device), compiled=compiled)
    times = paired(case.name, theirs.seconds, ours.seconds, pairs=pairs)
    return Cost(case.name, times, theirs.peak(), ours.peak())


def table(
    *, pairs: int, threads: int, compiled: bool, device: str, only: str = "", depth: int | None = None
) -> Iterator[str]:
    """Lines of a Markdown table, of the cases whose names contain ``only``, with so many blocks or their own."""
    torch.set_num_threads(threads)
    yield "| case | diffusers, ms | ours, ms | time | lowest, highest | diffusers, MiB | ours, MiB | memory |"
    yield "| :-- | --: | --: | --: | --: | --: | --: | --: |"
    chosen = (case.of_depth(depth) for case in cases() if only.casefold() in case.name.casefold())
    yield from (_line(measure(case, pairs=pairs, compiled=compiled, device=device)) for case in chosen)


def _line(cost: Cost) -> str:
    low, high = cost.time.spread
    cells = (
        cost.name,
        *(f"{1000 * statistics.median(times):,.0f}" for times in (cost.time.baseline, cost.time.candidate)),
        f"**{cost.time.ratio:.3f}**",
        f"{low:.3f}, {high:.3f}",
        *(f"{count / 2**20:,.1f}" for count in (cost.theirs, cost.ours)),
        f"**{cost.memory:.3f}**",
    )
    return f"| {' | '.join(cells)} |"

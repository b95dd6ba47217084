"""What a training needs of each GPU's memory under FSDP2, from a network on the meta device.

P parameters are divided over N GPUs along their first axis, so the fullest GPU has P' = Σ ⌈rows/N⌉ · (elements/row) of
them. With s bytes for a stored element (4; 2 under bf16-true) and c for one that is computed with (2 under bf16):

    parameters    s P'
    gradients     s P'
    optimiser     s P' per moment: two of AdamW, one of Muon's matrices
    averages      4 P' each: always float32
    teachers      4 P' of the network of the run that teaches, and of the student's of the former phase: float32
    gathered      2 s (R + 2 M): whole weights and gradients of all that is outside the blocks (R) and of two blocks (M,
                  the largest), one at work and one on its way; a teacher's two blocks 4 · 2 M more; on one GPU nothing
    copies        under bf16-mixed c P: autograd keeps the bfloat16 copy of each weight from the forward pass to the
                  backward pass; with checkpointed blocks c (R + M)
    activations   what else autograd keeps of one micro-batch, counted by running the network on the meta device
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from backbones.spec import inputs_of
from experiments.config import Config, averages
from experiments.config.checks import meta_backbone
from experiments.config.plugins import build_cached
from experiments.errors import UserError
from experiments.other_runs import find
from experiments.runs import Run
from experiments.training.blocks import blocks

RESERVE = 0.1
"""Share of a GPU that is left to CUDA, NCCL and the allocator's gaps."""


@dataclass(frozen=True)
class Plan:
    """Bytes on the fullest GPU.

    Attributes:
        count: parameters of the network.
        gpus: N.
        samples: of one micro-batch on one GPU.
        activations: kept by autograd when it keeps everything.
        checkpointed: kept with activation checkpointing of each block.
    """

    count: int
    gpus: int
    samples: int
    parameters: int
    gradients: int
    optimizer: int
    averages: int
    teachers: int
    gathered: int
    copies: int
    copies_checkpointed: int
    activations: int
    checkpointed: int

    def total(self, *, checkpointing: bool) -> int:
        """All of it, with or without activation checkpointing."""
        held = self.parameters + self.gradients + self.optimizer + self.averages + self.teachers
        state = held + self.gathered
        if checkpointing:
            return state + self.copies_checkpointed + self.checkpointed
        return state + self.copies + self.activations

    def fits(self, memory: float, *, checkpointing: bool) -> bool:
        """Whether it leaves :data:`RESERVE` of a GPU of so many bytes free."""
        return self.total(checkpointing=checkpointing) <= (1 - RESERVE) * memory


def memory_plan(config: Config, gpus: int) -> Plan:
    """The plan of a configuration on so many GPUs.

    Raises:
        UserError: the batch does not divide into equal parts.
    """
    parts = gpus * config.trainer.accumulate
    if config.trainer.batch_size % parts:
        raise UserError(
            f"gpus={gpus}: a batch of {config.trainer.batch_size} does not divide into {parts} equal parts "
            f"(GPUs × accumulate {config.trainer.accumulate})."
        )
    objective = build_cached(config.objective)
    network = meta_backbone(config.backbone, config.data, step=objective.needs.step)
    samples = config.trainer.batch_size // parts
    activations, checkpointed = activation_bytes(network, samples, compute_type(config))
    stored, computed = (dtype.itemsize for dtype in (stored_type(config), compute_type(config)))
    copies, copies_checkpointed = copied_bytes(network, computed) if computed < stored else (0, 0)
    local = {name: local_elements(parameter, gpus) for name, parameter in network.named_parameters()}
    recipe = build_cached(config.optimizer)
    moments = getattr(recipe, "moments", lambda name, parameter: 2)
    return Plan(
        count=sum(parameter.numel() for parameter in network.parameters()),
        gpus=gpus,
        samples=samples,
        parameters=stored * sum(local.values()),
        gradients=stored * sum(local.values()),
        optimizer=stored * sum(local[name] * moments(name, p) for name, p in network.named_parameters()),
        averages=4 * len(averages.names(config.ema)) * sum(local.values()),
        teachers=4 * (_taught(config, gpus) + (sum(local.values()) if objective.phases > 1 else 0)),
        gathered=gathered_bytes(network, gpus, stored, teacher=objective.needs.teacher != "none"),
        copies=copies,
        copies_checkpointed=copies_checkpointed,
        activations=activations,
        checkpointed=checkpointed,
    )


def _taught(config: Config, gpus: int) -> int:
    """Elements of the network of the run that teaches on the fullest of the GPUs; 0 without one.

    Raises:
        UserError: that run is not there.
    """
    if config.teacher is None:
        return 0
    folder = find(config.teacher)
    if folder is None:
        raise UserError(f"teacher: {config.teacher.run} is not there, and its network is to be counted.")
    other = Run(folder).config
    network = meta_backbone(other.backbone, config.data, step=build_cached(other.objective).needs.step)
    return sum(local_elements(parameter, gpus) for parameter in network.parameters())


def stored_type(config: Config) -> torch.dtype:
    """Of parameters, gradients and the optimiser's moments."""
    return {"bf16-true": torch.bfloat16, "64-true": torch.float64}.get(config.trainer.precision, torch.float32)


def compute_type(config: Config) -> torch.dtype:
    """Of activations and of weights at work."""
    return torch.bfloat16 if config.trainer.precision.startswith("bf16") else stored_type(config)


def local_elements(parameter: Tensor, gpus: int) -> int:
    """Elements of a parameter on the fullest of the GPUs that share its rows."""
    rows = parameter.shape[0] if parameter.ndim else 1
    return math.ceil(rows / gpus) * (parameter.numel() // rows)


def block_sizes(network: nn.Module) -> tuple[int, int]:
    """R and M: parameters outside all blocks, and those of the largest block."""
    sizes = [sum(parameter.numel() for parameter in block.parameters()) for block in blocks(network)]
    return sum(parameter.numel() for parameter in network.parameters()) - sum(sizes), max(sizes, default=0)


def gathered_bytes(network: nn.Module, gpus: int, stored: int, *, teacher: bool) -> int:
    """Bytes of whole weights and gradients at the moment of the most, beyond the shards."""
    rest, largest = block_sizes(network)
    return 0 if gpus == 1 else 2 * stored * (rest + 2 * largest) + (4 * 2 * largest if teacher else 0)


def copied_bytes(network: nn.Module, computed: int) -> tuple[int, int]:
    """Bytes of the weights' copies in the type that is computed with: all, and with checkpointed blocks."""
    rest, largest = block_sizes(network)
    return computed * sum(parameter.numel() for parameter in network.parameters()), computed * (rest + largest)


def activation_bytes(network: nn.Module, samples: int, dtype: torch.dtype) -> tuple[int, int]:
    """Bytes that autograd keeps of one forward pass of so many samples: everything, and with checkpointed blocks.

    Checkpointing keeps what is saved outside the blocks and each block's inputs, and, while a block is computed again,
    what is saved in that one. Storages are counted once however many views of them are saved, parameters not at all.
    Attention counts as a fused kernel has it: queries, keys, values, the result and one number for each row.
    """
    record = _Record(copy.deepcopy(network).to(dtype))
    with torch.autograd.graph.saved_tensors_hooks(record.saved, lambda kept: kept), _FusedAttention():
        record.network(**meta_batch(network.spec, samples, dtype, step=bool(network.step)))
    outside, inside = record.kept[None], [record.kept[block] for block in record.blocks]
    everything = outside | {key: size for block in inside for key, size in block.items()}
    lasting = outside | record.inputs
    again = max((sum(size for key, size in block.items() if key not in lasting) for block in inside), default=0)
    return sum(everything.values()), sum(lasting.values()) + again


def meta_batch(spec: Any, samples: int, dtype: torch.dtype, *, step: bool) -> dict[str, Any]:
    """A network's arguments for data of this spec, on the meta device."""
    options: dict[str, Any] = {"device": "meta", "dtype": dtype}
    dtypes = {True: torch.int64, False: dtype}
    condition = {
        name: torch.empty(samples, *shape, device="meta", dtype=dtypes[integers])
        for name, (shape, integers) in inputs_of(spec).items()
    }
    time = torch.empty(samples, device="meta")
    z = torch.empty(samples, *spec.shape, **options)
    return {"z": z, "t": time, "condition": condition or None} | ({"step": time} if step else {})


class _Record:
    """Storages that are saved during a forward pass, by the block that saves them first (None: outside of all)."""

    def __init__(self, network: nn.Module):
        self.network, self.blocks = network, blocks(network)
        self.kept: dict[nn.Module | None, dict[int, int]] = {block: {} for block in (None, *self.blocks)}
        self.inputs: dict[int, int] = {}
        self._alive: list[Any] = []  # so that no storage's address is used twice
        self._parameters = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
        self._block: nn.Module | None = None
        for block in self.blocks:
            block.register_forward_pre_hook(self._enter, with_kwargs=True)
            block.register_forward_hook(self._leave)

    def saved(self, tensor: Tensor) -> Tensor:
        self.kept[self._block] |= dict(self._storages([tensor]))
        return tensor

    def _enter(self, block: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._block = block
        self.inputs |= dict(self._storages([*given, *named.values()]))

    def _leave(self, block: nn.Module, given: Any, result: Any) -> None:
        self._block = None

    def _storages(self, values: Sequence[Any]) -> Iterator[tuple[int, int]]:
        for value in values:
            if isinstance(value, (tuple, list)):
                yield from self._storages(value)
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                if storage._cdata not in self._parameters:
                    self._alive.append(storage)
                    yield storage._cdata, storage.nbytes()


class _FusedAttention(TorchFunctionMode):
    """Has attention keep what a fused kernel keeps; on the meta device torch takes one that keeps all N² scores."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is scaled_dot_product_attention:
            return _Fused.apply(*args[:3])
        return func(*args, **(kwargs or {}))


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        q, k, v = given
        batch, heads, tokens, _ = q.shape
        result = q.new_empty(batch, tokens, heads, v.shape[-1]).transpose(1, 2)
        ctx.save_for_backward(q, k, v, result, q.new_empty(batch, heads, tokens, dtype=torch.float32))
        return result

"""Each block's activations and largest attention logit, on logged steps and on request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from experiments.trackers.base import Tracker
from experiments.training.blocks import blocks
from experiments.training.callbacks import AfterStep
from experiments.training.module import TrainingModule

_QUERIES = 256  # rows of the logits that are in memory at once


class Watch(TorchFunctionMode):
    """Between :meth:`start` and :meth:`stop`, looks at what the blocks of a network put out and at their attention.

    Attributes:
        squares, counts: of each block, the sum of the squares of its outputs and their number.
        logits: of each block, the largest |q·k|/√width among its queries and keys; 0 where it has no attention.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.blocks = blocks(network)
        device = next(network.parameters()).device
        zeros = [torch.zeros((), dtype=torch.float64, device=device) for _ in self.blocks]
        self.squares, self.logits = list(zeros), list(zeros)
        self.counts = [0] * len(self.blocks)
        self._inside: int | None = None
        self._handles: list[RemovableHandle] = []

    def start(self) -> None:
        for i, block in enumerate(self.blocks):
            self._handles.append(block.register_forward_pre_hook(self._enter(i)))
            self._handles.append(block.register_forward_hook(self._leave(i)))
        self.__enter__()

    def stop(self) -> None:
        self.__exit__(None, None, None)
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _enter(self, i: int) -> Callable[..., None]:
        def enter(*_: Any) -> None:
            self._inside = i

        return enter

    def _leave(self, i: int) -> Callable[..., None]:
        @torch.no_grad()
        def leave(block: nn.Module, inputs: Any, output: Any) -> None:
            self._inside = None
            for stream in output if isinstance(output, tuple) else (output,):
                self.squares[i] = self.squares[i] + stream.detach().double().square().sum()
                self.counts[i] += stream.numel()

        return leave

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        if func is scaled_dot_product_attention and self._inside is not None:
            largest = largest_logit(*args[:2], **(kwargs or {}))
            self.logits[self._inside] = torch.maximum(self.logits[self._inside], largest.double())
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def largest_logit(query: Tensor, key: Tensor, *, scale: float | None = None, attn_mask: Any = None, **_: Any) -> Tensor:
    """max |q·k|·scale over batch, heads, queries (…, N, k) and the keys (…, M, k) that may be attended to."""
    q, k = query.detach().float(), key.detach().float()
    allowed = attn_mask if attn_mask is not None and attn_mask.dtype == torch.bool else None
    with torch.autocast(q.device.type, enabled=False):
        parts = []
        for start in range(0, q.shape[-2], _QUERIES):
            rows = (q[..., start : start + _QUERIES, :] @ k.transpose(-1, -2)).abs()
            if allowed is not None:
                own = allowed if allowed.shape[-2] == 1 else allowed[..., start : start + _QUERIES, :]
                rows = rows.where(own, 0.0)
            parts.append(rows.amax())
    return torch.stack(parts).amax() * (q.shape[-1] ** -0.5 if scale is None else scale)


class Activations(AfterStep):
    """Logs, for each block i, ``activations/rms_i`` (of all it puts out) and ``activations/attention_logit_max_i``.

    And the largest of the latter as ``activations/attention_logit_max``. The teacher's passes are not looked at.
    """

    def __init__(self, trackers: list[Tracker]):
        self.trackers = trackers
        self._watch: Watch | None = None
        self._on = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        assert isinstance(pl_module, TrainingModule)
        if pl_module.logs(pl_module.step + 1):
            self._watch = self._watch or Watch(pl_module.backbone)
            self._watch.start()
            self._on = True

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._on and self._watch is not None:
            self._watch.stop()
            self._on = False

    def after_step(self, trainer: Trainer, module: TrainingModule, step: int) -> None:
        if self._watch is None:
            return
        watch, self._watch = self._watch, None
        squares = torch.stack([s / max(n, 1) for s, n in zip(watch.squares, watch.counts, strict=True)])
        logits = torch.stack(watch.logits)
        if dist.is_initialized():
            dist.all_reduce(squares)
            squares = squares / dist.get_world_size()
            dist.all_reduce(logits, op=dist.ReduceOp.MAX)
        if trainer.is_global_zero:
            values = {f"activations/rms_{i}": value for i, value in enumerate(squares.sqrt().tolist())}
            largest = logits.tolist()
            if any(largest):
                values |= {f"activations/attention_logit_max_{i}": value for i, value in enumerate(largest)}
                values["activations/attention_logit_max"] = max(largest)
            for tracker in self.trackers:
                tracker.log(step, values)

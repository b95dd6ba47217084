"""A network's floating-point operations by its shapes alone, for networks that are made of the usual layers.

torch computes shapes on the meta device in Python: a forward pass of a small DiT takes 50 ms so, the first loads the
compiler (1 s). Here the results of linear maps, convolutions, attention and elementwise functions are laid out without
computing anything; whatever else a network asks for is left to torch's own counter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

ELEMENTWISE = frozenset(
    (
        "add", "addcmul", "clamp", "cos", "div", "exp", "gelu", "layer_norm", "log", "log2", "mul", "neg", "pow",
        "rms_norm", "rsub", "sigmoid", "silu", "sin", "sub", "tanh", "true_divide", "where",
    )
)  # fmt: skip
"""Functions whose result has the shape to which their arguments broadcast."""

LAYOUT = frozenset(
    (
        "__get__", "__getitem__", "chunk", "contiguous", "detach", "dim", "empty", "expand", "flatten",
        "is_floating_point", "new_empty", "permute", "promote_types", "reshape", "size", "split", "squeeze", "to",
        "transpose", "unbind", "unflatten", "unsqueeze", "view", "view_as",
    )
)  # fmt: skip
"""Functions that torch lays out quickly by itself, and that cost nothing."""


class Unknown(Exception):
    """The network asks for something whose shape or cost is not known here."""


class Shapes(TorchFunctionMode):
    """Counts FLOPs (a multiply-add is two) of what runs under it on the meta device.

    Raises:
        Unknown: a function of neither list.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        known = KNOWN.get(func)
        if known is not None:
            try:
                result, flops = known(*args, **given)
            except (TypeError, ValueError) as error:
                raise Unknown from error
            self.flops += flops
            return result
        name = getattr(func, "__name__", "")
        if name in ELEMENTWISE:
            return _elementwise([*args, *given.values()])
        if name in LAYOUT:
            return func(*args, **given)
        raise Unknown(name)


Laid = tuple[Tensor, int]


def _elementwise(values: list[Any]) -> Tensor:
    tensors = [value for value in values if isinstance(value, Tensor)]
    if not tensors:
        raise Unknown
    like = next((one for one in tensors if one.is_floating_point()), tensors[-1])
    return like.new_empty(np.broadcast_shapes(*(one.shape for one in tensors)))  # torch's loads sympy


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Laid:
    return x.new_empty(*x.shape[:-1], weight.shape[0]), 2 * x.numel() * weight.shape[0]


def _attention(q: Tensor, k: Tensor, v: Tensor, **_: Any) -> Laid:
    scores = q.numel() // q.shape[-1] * k.shape[-2]
    return q.new_empty(*q.shape[:-1], v.shape[-1]), 2 * scores * (q.shape[-1] + v.shape[-1])


def _convolution(
    x: Tensor, weight: Tensor, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Laid:
    def each(value: Any) -> tuple[int, ...]:
        return (value, value) if isinstance(value, int) else tuple(map(int, value))

    sizes = [
        (length + 2 * pad - far * (kernel - 1) - 1) // step + 1
        for length, kernel, step, pad, far in zip(
            x.shape[-2:], weight.shape[-2:], each(stride), each(padding), each(dilation), strict=True
        )
    ]
    result = x.new_empty(*x.shape[:-3], weight.shape[0], *sizes)
    return result, 2 * result.numel() * weight[0].numel()


def _normed(x: Tensor, *_: Any, **__: Any) -> Laid:
    return x.new_empty(x.shape), 0


def _embedding(index: Tensor, weight: Tensor, *_: Any, **__: Any) -> Laid:
    return weight.new_empty(*index.shape, weight.shape[-1]), 0


def _arange(*ends: float, device: Any = None, dtype: Any = None) -> Laid:
    first, last, step = (0, *ends, 1)[:3] if len(ends) == 1 else (*ends, 1)[:3]
    return torch.empty(math.ceil((last - first) / step), device=device, dtype=dtype), 0


def _cat(parts: Any, dim: int = 0) -> Laid:
    shape = list(parts[0].shape)
    shape[dim] = sum(part.shape[dim] for part in parts)
    return parts[0].new_empty(shape), 0


def _filled(*size: Any, **options: Any) -> Laid:
    return torch.empty(*size, **options), 0


KNOWN: Mapping[Any, Callable[..., Laid]] = {
    F.linear: _linear,
    F.scaled_dot_product_attention: _attention,
    F.conv2d: _convolution,
    F.group_norm: _normed,
    F.embedding: _embedding,
    torch.arange: _arange,
    torch.cat: _cat,
    torch.ones: _filled,
    torch.zeros: _filled,
}

"""A network divided among processes: FSDP2, which keeps each parameter's rows (its first axis) apart as a DTensor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from experiments.training.blocks import blocks


def divide(network: nn.Module, mesh: DeviceMesh) -> None:
    """Divide ``network``'s parameters among the processes of ``mesh``, block by block (in place).

    A forward pass gathers one block after another and lets go of it again, the outermost part included: an average is
    read without gradient, and would otherwise keep whole weights that its next update makes old.
    """
    for block in blocks(network):
        fully_shard(block, mesh=mesh, reshard_after_forward=True)
    fully_shard(network, mesh=mesh, reshard_after_forward=True)


def local(tensor: Tensor) -> Tensor:
    """This process's rows of a divided tensor, sharing its memory; a whole tensor itself."""
    return tensor.detach().to_local() if isinstance(tensor, DTensor) else tensor  # pyright: ignore[reportAttributeAccessIssue]


def piece_of(tensor: Tensor) -> tuple[Tensor, int] | None:
    """This process's rows of a divided tensor and the index of the first of them; None for a tensor that is whole."""
    if not isinstance(tensor, DTensor):
        return None
    _, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return local(tensor), offset[0]


def divided_like(whole: Tensor, parameter: Tensor) -> Tensor:
    """``whole`` divided as ``parameter`` is; itself where the parameter is whole, or of another shape."""
    if not isinstance(parameter, DTensor) or whole.shape != parameter.shape:
        return whole
    shape, offset = compute_local_shape_and_global_offset(parameter.shape, parameter.device_mesh, parameter.placements)
    rows = whole[offset[0] : offset[0] + shape[0]].to(parameter.device).contiguous()
    mesh, placements = parameter.device_mesh, parameter.placements
    return DTensor.from_local(rows, mesh, placements, run_check=False, shape=whole.shape, stride=whole.stride())


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """The mean over all processes of the gradients of parameters that FSDP does not know of."""
    for parameter in parameters:
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()


def clip(weights: Sequence[Tensor], limit: float) -> Tensor:
    """Scale all gradients so that their norm over all weights is at most ``limit``; the norm before."""
    if not any(isinstance(weight, DTensor) for weight in weights):
        return nn.utils.clip_grad_norm_(weights, limit, foreach=True)
    grads = [weight.grad for weight in weights if weight.grad is not None]
    total = norm(grads)
    scale = (limit / (total + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_([local(grad) for grad in grads], scale)  # pyright: ignore[reportPrivateImportUsage]
    return total


def norm(tensors: Sequence[Tensor]) -> Tensor:
    """The norm over all elements of all tensors, of divided ones over all processes' (all must call this then)."""
    parts = [nn.utils.get_total_norm(kind, foreach=True) for kind in _by_kind(tensors)]
    return torch.linalg.vector_norm(torch.stack([whole(part.detach()) for part in parts]))


def whole(tensor: Tensor) -> Tensor:
    """All of a divided tensor (all processes must call this); a whole tensor itself."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor  # pyright: ignore[reportAttributeAccessIssue]


def _by_kind(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    divided: list[Tensor] = [tensor for tensor in tensors if isinstance(tensor, DTensor)]
    rest = [tensor for tensor in tensors if not isinstance(tensor, DTensor)]
    return [kind for kind in (divided, rest) if kind]

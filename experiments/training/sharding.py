"""A network divided among processes: FSDP2, which keeps each parameter's rows (its first axis) apart as a DTensor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Placement, Shard
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from experiments.training.blocks import blocks
from experiments.training.pieces import Pieces


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
    if not isinstance(parameter, DTensor) or isinstance(whole, DTensor) or whole.shape != parameter.shape:
        return whole
    return _from_rows(rows_like(whole, parameter), whole.shape, parameter.device_mesh, parameter.placements)


def divided(pieces: Pieces, mesh: DeviceMesh) -> Tensor:
    """``pieces`` divided by rows among the processes of ``mesh``; this process reads its own."""
    placements = (Shard(0),)
    shape, offset = compute_local_shape_and_global_offset(pieces.shape, mesh, placements)
    rows = pieces.rows(offset[0], offset[0] + shape[0])
    return _from_rows(rows.to(mesh.device_type), pieces.shape, mesh, placements)


def rows_like(whole: Tensor | Pieces, parameter: Tensor) -> Tensor:
    """The rows of ``whole`` that this process has of ``parameter``; ``whole`` may be divided as that is already."""
    if isinstance(whole, DTensor):
        return local(whole)
    shape, offset = compute_local_shape_and_global_offset(parameter.shape, *_division(parameter))
    start, stop = offset[0], offset[0] + shape[0]
    return whole.rows(start, stop) if isinstance(whole, Pieces) else whole[start:stop].to(parameter.device).contiguous()


def _division(parameter: Tensor) -> tuple[DeviceMesh, Sequence[Placement]]:
    assert isinstance(parameter, DTensor)
    return parameter.device_mesh, parameter.placements


def _from_rows(rows: Tensor, shape: torch.Size, mesh: DeviceMesh, placements: Sequence[Placement]) -> Tensor:
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(rows, mesh, placements, run_check=False, shape=shape, stride=stride)


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
    parts = [nn.utils.get_total_norm(kind, foreach=True) for kind in by_kind(tensors)]
    return torch.linalg.vector_norm(torch.stack([whole(part.detach()) for part in parts]))


def whole(tensor: Tensor) -> Tensor:
    """All of a divided tensor (all processes must call this); a whole tensor itself."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor  # pyright: ignore[reportAttributeAccessIssue]


def copied(network: nn.Module, *, keep: bool) -> dict[str, Tensor]:
    """Copies of all whole weights on the CPU, for the process that has ``keep``; the others get none.

    Where they are divided all processes must call this; each weight is let go of before the next is gathered.
    """
    kept: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        gathered = whole(tensor)
        if keep:
            kept[name] = gathered.detach().to("cpu", copy=True).contiguous()
    return kept


def by_kind(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Divided tensors, then whole ones, without a list that is empty: torch's operations on lists take one kind."""
    divided: list[Tensor] = [tensor for tensor in tensors if isinstance(tensor, DTensor)]
    rest = [tensor for tensor in tensors if not isinstance(tensor, DTensor)]
    return [kind for kind in (divided, rest) if kind]

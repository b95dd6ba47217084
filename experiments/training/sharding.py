"""What is particular to tensors that are divided among processes along their first axis (FSDP2's DTensor)."""

from __future__ import annotations

from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset


def local(tensor: Tensor) -> Tensor:
    """This process's rows of a divided tensor, sharing its memory; a whole tensor itself."""
    return tensor.detach().to_local() if isinstance(tensor, DTensor) else tensor  # pyright: ignore[reportAttributeAccessIssue]


def piece_of(tensor: Tensor) -> tuple[Tensor, int] | None:
    """This process's rows of a divided tensor and the index of the first of them; None for a tensor that is whole."""
    if not isinstance(tensor, DTensor):
        return None
    _, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return local(tensor), offset[0]

"""A state dict of theirs to ours and back, by a layout's table."""

from __future__ import annotations

import torch
from torch import Size, Tensor

from backbones.base import Backbone
from backbones.pretrained.base import Layout, LayoutError, State

TOLERANCE = {torch.float16: 1e-3, torch.bfloat16: 8e-3}
"""How far a fixed table's values, at most 1, may be from their formula in a file of this dtype; 1e-4 in others."""


def to_ours(layout: Layout, network: Backbone, theirs: State) -> dict[str, Tensor]:
    """The parameters of ``network`` from a state dict of ``layout``; tensors are shared where nothing moves.

    Args:
        network: may be on the meta device: its names and shapes are all that counts.
        theirs: without the layout's prefix.

    Raises:
        LayoutError: tensors that are missing, too many, of another shape, or not the copies or the fixed tables that
            they should be; all of them listed.
    """
    rows, tables = layout.rows(network), layout.tables(network)
    wanted, placed = expected(layout, network), {row.ours for row in rows}
    own = (name for name, _ in network.named_parameters() if name not in placed)
    reasons = [f"the network here has {name}, which {layout.code} has not" for name in own]
    reasons += [f"{name} {_shape(size)} is missing" for name, size in wanted.items() if name not in theirs]
    reasons += [f"{name} {_shape(tensor.shape)} has no place" for name, tensor in theirs.items() if name not in wanted]
    reasons += [
        f"{name} is {_shape(theirs[name].shape)}, expected {_shape(size)}"
        for name, size in wanted.items()
        if name in theirs and theirs[name].shape != size
    ]
    if reasons:
        raise LayoutError(reasons)
    reasons += [line for name, table in tables.items() for line in _off(name, theirs[name], table)]
    ours = {}
    for row in rows:
        try:
            ours[row.ours] = row.read([theirs[name] for name in row.theirs])
        except ValueError as error:
            reasons.append(str(error))
    if reasons:
        raise LayoutError(reasons)
    return ours


def to_theirs(layout: Layout, network: Backbone, ours: State, *, anyhow: bool = False) -> dict[str, Tensor]:
    """A state dict of ``layout``, without its prefix, from the parameters of ``network``.

    Args:
        network: as of :func:`to_ours`.
        ours: its parameters.
        anyhow: whether to write it also where the layout's code computes something else.

    Raises:
        LayoutError: parameters that the layout has no place for, or (unless ``anyhow``) a network that its code does
            not compute; all reasons listed.
    """
    rows = layout.rows(network)
    placed = {row.ours for row in rows}
    reasons = [f"{name}, which {layout.code} has not" for name in ours if name not in placed]
    reasons += [] if anyhow else layout.misfits(network)
    if reasons:
        raise LayoutError(reasons)
    theirs: dict[str, Tensor] = {}
    for row in rows:
        theirs |= dict(zip(row.theirs, row.write(ours[row.ours]), strict=True))
    dtype = next(iter(ours.values())).dtype
    return {**{name: table.to(dtype) for name, table in layout.tables(network).items()}, **theirs}


def expected(layout: Layout, network: Backbone) -> dict[str, Size]:
    """The names and shapes of theirs."""
    own = {name: parameter.shape for name, parameter in network.named_parameters()}
    sizes: dict[str, Size] = {name: table.shape for name, table in layout.tables(network).items()}
    for row in layout.rows(network):
        sizes |= dict(zip(row.theirs, row.shapes(own[row.ours]), strict=True))
    return sizes


def _off(name: str, given: Tensor, table: Tensor) -> list[str]:
    """Why a tensor is not the fixed table that it should be."""
    far = float((given.float() - table.to(given.device)).abs().max())
    if far <= TOLERANCE.get(given.dtype, 1e-4):
        return []
    return [f"{name} is no sine-cosine code of its grid: values differ by up to {far:.2g}; here it is computed"]


def _shape(shape: Size) -> str:
    return "×".join(map(str, shape)) or "scalar"

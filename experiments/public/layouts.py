"""A layout by its name, and its prefixes on and off the names in a file."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import NoReturn

from torch import Tensor

from backbones.pretrained import LAYOUTS, Layout, LayoutError
from experiments.errors import UserError


def layout_named(name: str) -> Layout:
    """The layout that is called so, whatever the case; a :class:`UserError` with the nearest name if none is."""
    found = LAYOUTS.get(name.lower())
    if found is not None:
        return found
    near = difflib.get_close_matches(name.lower(), LAYOUTS, n=1, cutoff=0.4)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise UserError(f"--as {name}: no layout is called so{hint}; known: {', '.join(LAYOUTS)}")


def own(layout: Layout, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """The network's tensors without the layout's prefix, and how many others there were beside them."""
    prefix = layout.prefix
    if prefix and any(name.startswith(prefix) for name in tensors):
        within = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        rest = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
    else:
        within, rest = {}, dict(tensors)
    kept = {name: tensor for name, tensor in rest.items() if not name.startswith(layout.foreign or ("\0",))}
    return {**within, **kept}, len(rest) - len(kept)


def refuse(what: str, error: LayoutError) -> NoReturn:
    """Say of ``what`` every reason that a layout gives."""
    raise UserError(_listed(what, error.reasons)) from error


def _listed(what: str, reasons: Sequence[str]) -> str:
    return f"{what}:\n  " + "\n  ".join(reasons)

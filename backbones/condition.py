"""Reading a condition: checked against the spec, and completed so that no part is ever missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from backbones.spec import Spec, parts_of

Condition = Mapping[str, Tensor]
"""Any of label (B,), context (B, L, D), context_mask (B, L), pooled (B, P), and drop (B,) or (B, parts) bool."""


@dataclass(frozen=True)
class Complete:
    """A condition in which every part of the spec is present, beside the rows where it is to be null."""

    value: dict[str, Tensor]
    drop: dict[str, Tensor]  # part -> (B,) bool


def complete(condition: Condition | None, spec: Spec, z: Tensor) -> Complete:
    """Check a condition against ``spec`` and fill in what it leaves out.

    None is the null condition: every part dropped in every row. A dict must hold every part of the spec;
    without ``drop`` no row is dropped. A ``drop`` of shape (B, parts) has one column for each part of the
    spec, in the order label, context, pooled.

    Args:
        condition: None, or a dict of tensors with leading B.
        spec: the data's spec.
        z: (B, ...) the network's input, which gives B, device and dtype.

    Raises:
        ValueError: a part that the spec does not have, one that is missing, or a shape that does not fit.
    """
    parts = parts_of(spec)
    batch, device = z.shape[0], z.device
    if condition is None:
        everything = torch.ones(batch, dtype=torch.bool, device=device)
        return Complete({part: _blank(part, spec, z) for part in parts}, dict.fromkeys(parts, everything))
    _check_keys(condition, parts)
    value = {part: condition[part] for part in parts}
    value = {part: given.to(z.dtype) if given.is_floating_point() else given for part, given in value.items()}
    if "context_mask" in condition:
        value["context_mask"] = condition["context_mask"]
    _check_shapes(value, spec, batch)
    drop = condition.get("drop")
    if drop is None:
        drop = torch.zeros(batch, dtype=torch.bool, device=device)
    if tuple(drop.shape) not in ((batch,), (batch, len(parts))):
        raise ValueError(
            f"condition['drop'] has shape {tuple(drop.shape)}; allowed: ({batch},), or ({batch}, {len(parts)}) "
            f"with one column for each of {', '.join(parts)}"
        )
    columns = {part: drop if drop.ndim == 1 else drop[:, i] for i, part in enumerate(parts)}
    return Complete(value, columns)


def _blank(part: str, spec: Spec, z: Tensor) -> Tensor:
    batch = z.shape[0]
    if part == "label":
        return torch.zeros(batch, dtype=torch.int64, device=z.device)
    if part == "pooled":
        return z.new_zeros(batch, spec.pooled)
    assert spec.context is not None
    return z.new_zeros(batch, *spec.context)


def _check_keys(condition: Condition, parts: tuple[str, ...]) -> None:
    known = (*parts, "drop", *(("context_mask",) if "context" in parts else ()))
    unknown = [key for key in condition if key not in known]
    if unknown:
        raise ValueError(
            f"the condition has {', '.join(unknown)}, for which this backbone has no parameters; "
            f"its data has {', '.join(parts) or 'no condition'}"
        )
    missing = [part for part in parts if part not in condition]
    if missing:
        raise ValueError(
            f"the condition lacks {', '.join(missing)}; give every part ({', '.join(parts)}), mark rows in 'drop' "
            "to make them null, or pass None for the null condition"
        )


def _check_shapes(value: Mapping[str, Tensor], spec: Spec, batch: int) -> None:
    expected: dict[str, tuple[int | None, ...]] = {"label": (batch,), "pooled": (batch, spec.pooled)}
    if spec.context is not None:
        expected["context"] = (batch, None, spec.context[1])
        expected["context_mask"] = (batch, value["context"].shape[1])
    for part, tensor in value.items():
        shape, wanted = tuple(tensor.shape), expected[part]
        if len(shape) != len(wanted) or any(w not in (None, s) for s, w in zip(shape, wanted, strict=True)):
            text = ", ".join("any" if w is None else str(w) for w in wanted)
            raise ValueError(f"condition[{part!r}] has shape {shape}; this backbone takes ({text})")

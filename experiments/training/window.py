"""The numbers of the steps since the last line of the log, which a checkpoint between two lines must keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

ONCE = frozenset({"grad_norm", "parameter_norm", "update_ratio", "spikes"})
"""Numbers that are noted once for a step, with its last micro-batch; the others with each."""

Entry = dict[str, Tensor]
"""Of one micro-batch: name -> a number on the device, or several of which a mean makes sense."""


def merge(windows: Sequence[Sequence[Mapping[str, Tensor]]], *, then: int, now: int) -> list[Entry]:
    """One window for every rank of a training that goes on otherwise divided: the means over the ranks.

    The mean over ranks and entries, which is all that is made of a window, is the same as of ``windows``.

    Args:
        windows: of each rank, one entry per micro-batch, equally many on all ranks.
        then, now: micro-batches per step until now, and from now on.
    """
    merged = [_mean(entries) for entries in zip(*windows, strict=True)]
    if then == now:
        return merged
    found: list[Entry] = []
    for start in range(0, len(merged), then):
        step = merged[start : start + then]
        last = _mean(step)
        each = {name: value for name, value in last.items() if name not in ONCE}
        found += [dict(each) for _ in range(now - 1)] + [last]
    return found


def _mean(entries: Sequence[Mapping[str, Tensor]]) -> Entry:
    names = {name: None for entry in entries for name in entry}
    return {name: torch.stack([entry[name] for entry in entries if name in entry]).mean(dim=0) for name in names}

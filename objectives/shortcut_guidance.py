"""Guidance of some rows of a batch, their null rows asked with the others."""

from __future__ import annotations

import torch
from torch import Tensor

from objectives.base import Network
from objectives.condition import Condition
from objectives.heads.base import rows


def guided_rows(network: Network, scale: float, chosen: Tensor, most: int) -> Network:
    """The network with out(∅) + w·(out(c) − out(∅)) in the chosen rows, as it is in the others; one call of B + most.

    The raw output is guided, which at a given z is the same as guiding x̂, ε̂ or the velocity, all affine in it.
    Which rows are chosen decides what is gathered, never how much.

    Args:
        network: network(z, t, condition, step).
        scale: w.
        chosen: (B,) bool.
        most: how many can be chosen, up to B.

    Raises:
        ValueError: when called without a condition; more rows chosen than `most`, which is looked at only where that
            needs no synchronisation with a device.
    """
    if chosen.device.type == "cpu" and int(chosen.sum()) > most:
        raise ValueError(f"{int(chosen.sum())} rows are to be guided, at most {most} were announced")
    place = torch.argsort(chosen.to(torch.int8), descending=True, stable=True)[:most]

    def guided(z: Tensor, t: Tensor, condition: Condition, step: Tensor) -> Tensor:
        if condition is None:
            raise ValueError(f"guidance {scale:g} needs a condition; without one only 1 (none) is possible")
        keep = condition.get("drop", torch.zeros_like(chosen))
        more = {name: _with(value, value[place]) for name, value in condition.items()}
        asked = {**more, "drop": _with(keep, torch.ones_like(keep[place]))}
        out = network(_with(z, z[place]), _with(t, t[place]), asked, _with(step, step[place])).to(z.dtype)
        own, null = out[: len(z)], out[len(z) :]
        lifted = null + scale * (own[place] - null)
        return own.index_copy(0, place, torch.where(rows(chosen[place], own).bool(), lifted, own[place]))

    return guided


def _with(value: Tensor, more: Tensor) -> Tensor:
    return torch.cat((value, more))

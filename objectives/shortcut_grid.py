"""The steps of a shortcut model: on which paths there are any, where each may start, how often each is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from objectives.base import count_steps
from objectives.flow_matching import FlowMatching


def check_steps(flow: FlowMatching, M: int) -> None:
    """Refuse a path or a head with which the mean velocity over some of the steps is no finite number.

    A step from t to t' has the mean velocity (z_t − z_t')/(τ(t) − τ(t')), and the mean of two in a row, weighted by
    what they take of τ, is that of the whole: on any path whose clock is finite up to its last time and rises in each
    of the M steps. The network's raw output must give a velocity wherever a step starts, and so at all times but 0.

    Raises:
        ValueError: a clock that does not do so, rates that are not finite, a head whose output is no velocity there.
    """
    path, times = flow.path, flow.path.t_max * torch.arange(M + 1, dtype=torch.float64, device="cpu") / M
    clock, starts = path.clock(times), times[1:]
    if not bool(clock.isfinite().all() and (clock.diff() > 0).all()):
        raise ValueError(
            f"shortcut needs a path whose clock is finite and rises in each of {M} steps; that of {path} goes from "
            f"{float(clock[0]):g} at t = 0 to {float(clock[-1]):g} at t = {path.t_max:g}"
        )
    if not all(bool(rate.isfinite().all()) for rate in path.rates(starts)):
        raise ValueError(f"shortcut needs finite velocities; the rates of {path} are not finite at all times above 0")
    gain = velocity_gain(flow, starts)
    if not bool((gain.isfinite() & (gain != 0)).all()):
        raise ValueError(
            f"shortcut needs a head whose output gives the velocity at all times above 0, which that of {flow.head} "
            f"on {path} does not"
        )


def velocity_gain(flow: FlowMatching, t: Tensor) -> Tensor:
    """(B,) ∂velocity/∂raw at times t: what an error of the head's raw output is worth in the velocity; 1 of its own."""
    one = torch.ones_like(t)[:, None]
    return flow.head.velocity(flow.path, one, torch.zeros_like(one), t)[:, 0]


def binary_times(steps: int, M: int) -> list[float]:
    """steps+1 multiples of 1/M from 1 to 0: binary steps, each from a multiple of its own length, two lengths at most.

    With 2^j ≤ steps < 2^(j+1), 2^j equal intervals, of which steps − 2^j, evenly spread, are halved.

    Raises:
        ValueError: steps that are not a whole number from 1 to M.
    """
    count = 1 << (count_steps(steps, M).bit_length() - 1)
    halved = steps - count
    times = [1.0]
    for i in range(count):
        if (i + 1) * halved // count > i * halved // count:
            times.append(1 - (i + 0.5) / count)
        times.append(1 - (i + 1) / count)
    return times


def rotation(levels: int, bias: float) -> list[int]:
    """A round with level ℓ, the step 2^−ℓ, in proportion to 2^(−bias·ℓ), each at least once and spread out evenly."""
    weights = [2 ** (-bias * level) for level in range(levels)]
    credit, rounds = [0.0] * levels, []
    for _ in range(math.ceil(sum(weights) / weights[-1])):
        credit = [have + weight for have, weight in zip(credit, weights, strict=True)]
        rounds.append(max(range(levels), key=credit.__getitem__))
        credit[rounds[-1]] -= sum(weights)
    return rounds


def most_of(round_: Sequence[int], level: int, count: int) -> int:
    """How often, at most, a level comes in `count` places in a row of a round that is gone through again and again."""
    whole, rest = divmod(count, len(round_))
    sums = [0, *accumulate(int(each == level) for each in (*round_, *round_))]
    return whole * sums[len(round_)] + max(sums[i + rest] - sums[i] for i in range(len(round_)))

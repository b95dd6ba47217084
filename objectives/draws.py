"""Counter-based random numbers: every row of a batch has its own, whatever machine computes it.

A value is a function of (seed, name, step, position in the global batch, element number) and of nothing else, so one
process and eight, accumulated or not, interrupted or not, see the same noise and the same times, and objectives that
are compared with one another see common random numbers.

Philox4x32-10: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

_MULTIPLIERS = (0xCD9E8D57, 0xD2511F53)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF
_ROUNDS = 10
_AHEAD = 16  # steps
_MANY = 2**18  # numbers


Law = Callable[[Tensor, torch.dtype], Tensor]
"""Makes numbers of 32-bit words, one of each."""


def philox(counter: Sequence[Tensor], key: tuple[int, int]) -> Tensor:
    """Philox4x32-10 in 64-bit integers.

    Args:
        counter: four int64 tensors that broadcast together, each value a 32-bit word (0 … 2³²−1).
        key: two 32-bit words.

    Returns:
        (4, *shape) int64, each value a random 32-bit word.
    """
    rounds = _rounds_on_cpu if counter[0].device.type == "cpu" else _rounds_on_device
    return rounds(torch.broadcast_tensors(*counter), _round_keys(key))


@cache
def _round_keys(key: tuple[int, int]) -> np.ndarray:
    """(rounds, 2) uint64."""
    words = [[(k + r * w) & _MASK for k, w in zip(key, _WEYL, strict=True)] for r in range(_ROUNDS)]
    return np.array(words, dtype=np.uint64)


def _rounds_on_device(counter: Sequence[Tensor], keys: np.ndarray) -> Tensor:
    c0, c1, c2, c3 = counter
    even, odd = torch.stack((c0, c2)), torch.stack((c1, c3))
    columns = (2,) + (1,) * c0.dim()
    multipliers = torch.tensor(_MULTIPLIERS, device=c0.device).view(columns)
    for round_key in torch.from_numpy(keys.view(np.int64)).to(c0.device).view(_ROUNDS, *columns):
        # The product wraps around modulo 2⁶⁴; its two 32-bit halves are right all the same.
        product = even.flip(0) * multipliers
        even, odd = ((product >> 32) ^ odd ^ round_key) & _MASK, product & _MASK
    return torch.stack((even[0], odd[0], even[1], odd[1]))


def _rounds_on_cpu(counter: Sequence[Tensor], keys: np.ndarray) -> Tensor:
    """The same in NumPy, whose operators cost a third of torch's on the small tensors that most draws are."""
    c0, c1, c2, c3 = (word.numpy().view(np.uint64) for word in counter)
    even, odd, product = np.empty((3, 2, *c0.shape), dtype=np.uint64)
    even[0], even[1], odd[0], odd[1] = c0, c2, c1, c3
    columns = (2,) + (1,) * c0.ndim
    multipliers = np.array(_MULTIPLIERS, dtype=np.uint64).reshape(columns)
    half, mask = np.uint64(32), np.uint64(_MASK)
    for round_key in keys.reshape(_ROUNDS, *columns):
        np.multiply(even[::-1], multipliers, out=product)
        np.right_shift(product, half, out=even)
        even ^= odd
        even ^= round_key
        np.bitwise_and(product, mask, out=odd)
    result = np.empty((*c0.shape, 4), dtype=np.uint64)  # a counter's four words side by side, as they are read
    result[..., 0], result[..., 1], result[..., 2], result[..., 3] = even[0], odd[0], even[1], odd[1]
    return torch.from_numpy(result.view(np.int64)).movedim(-1, 0)


@cache
def _key(seed: int, name: str) -> tuple[int, int]:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


class Draws:
    """Named random numbers for the rows of one batch of one step.

    Args:
        seed: the run's seed.
        step: the optimiser step, counted from 0 (at sampling: 0).
        index: (B,) int64, each row's position in the global batch (at sampling: the sample's number).
        size: the global batch size, where it is known.

    Every method takes the draw's name first; rows with equal (seed, step, position, name) get equal values, also when
    one of two requests asks for more elements per row: the shorter row is the longer one's beginning (in pairs, for
    `normal`).
    """

    def __init__(self, seed: int, step: int, index: Tensor, size: int | None = None) -> None:
        if index.dim() != 1 or index.dtype != torch.int64:
            raise ValueError(f"index must be (B,) int64, got {tuple(index.shape)} {index.dtype}")
        if not 0 <= step <= _MASK:
            raise ValueError(f"step must be in 0 … 2³²−1, got {step}")
        self.seed, self.step, self.index, self.size = seed, step, index, size
        self._given: dict[str, Tensor] = {}
        self._ahead: dict[tuple[Any, ...], tuple[int, Tensor]] | None = None

    def at(self, step: int) -> Draws:
        """The same rows' draws at another step.

        Small ones are computed for the steps to come as well, up to 16 steps and 2¹⁸ numbers: a training that goes from
        step to step by this pays once for many steps what a small draw costs, which is its operators' launches.
        """
        draws = Draws(self.seed, step, self.index, self.size)
        self._ahead = draws._ahead = {} if self._ahead is None else self._ahead
        return draws

    def given(self, **values: Tensor) -> Draws:
        """The same draws, but for the named normal ones, which are the given tensors (B, …): the data's own noise."""
        draws = Draws(self.seed, self.step, self.index, self.size)
        draws._given, draws._ahead = {**self._given, **values}, self._ahead
        return draws

    def has(self, name: str) -> bool:
        """Whether the values of this name are given ones."""
        return name in self._given

    def _drawn(self, law: Law, name: str, elements: int, dtype: torch.dtype) -> Tensor:
        """(B, elements) of this step."""
        steps = min(_AHEAD, _MANY // max(1, len(self.index) * elements))
        if self._ahead is None or steps < 2:
            return law(self._words(name, elements, 1), dtype)[0]
        place = (law, name, elements, dtype)
        first, values = self._ahead.get(place, (self.step + 1, self.index))
        if not first <= self.step < first + steps:
            first, values = self.step, law(self._words(name, elements, steps), dtype)
            self._ahead[place] = first, values
        return values[self.step - first].clone()

    def _words(self, name: str, elements: int, steps: int) -> Tensor:
        """(steps, B, elements) int64: the rows' first 32-bit words under this name, from this step on."""
        device = self.index.device
        blocks = torch.arange((elements + 3) // 4, device=device)
        at = torch.arange(self.step, self.step + steps, device=device)[:, None, None] & _MASK
        words = philox((blocks, self.index[:, None], at, blocks.new_zeros(())), _key(self.seed, name))
        return words.permute(1, 2, 3, 0).reshape(steps, len(self.index), -1)[..., :elements]

    def _elements(self, shape: Sequence[int]) -> int:
        if len(shape) < 1 or shape[0] != len(self.index):
            raise ValueError(
                f"the shape of a draw must start with the batch size {len(self.index)}, got {tuple(shape)}"
            )
        return math.prod(shape[1:])

    def uniform(self, name: str, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Uniform numbers (n + ½)·2⁻²³, n = 0 … 2²³−1: strictly inside (0, 1), symmetric about ½, exact in float32."""
        return self._drawn(_unit, name, self._elements(shape), dtype).reshape(tuple(shape))

    def normal(self, name: str, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Standard normal numbers by Box and Muller's transform of pairs of uniforms; |value| ≤ 5.77."""
        if name in self._given:
            return _checked(name, self._given[name], shape).to(dtype)
        elements = self._elements(shape)
        return self._drawn(_normal, name, elements + elements % 2, dtype)[:, :elements].reshape(tuple(shape))

    def cycle(self, name: str, period: int, *, every: int = 1) -> Tensor:
        """(B,) int64 in 0 … period−1 that takes all values evenly: (⌊position/every⌋ + step + offset) mod period.

        Any `period` consecutive steps give each value to each position once, however small the batch is; so do any
        period·every consecutive positions of one step. The offset is a function of (seed, name).

        Raises:
            ValueError: the batch does not begin at a multiple of `every` or does not run on without gaps
                (looked at only where that needs no synchronisation with a device).
        """
        if every > 1 and self.index.device.type == "cpu" and bool((self.index[::every] % every).any()):
            raise ValueError(f"the batch must consist of whole groups of {every} consecutive positions")
        offset = _key(self.seed, name)[0] % period
        return (torch.div(self.index, every, rounding_mode="floor") + (self.step + offset)) % period


def _unit(words: Tensor, dtype: torch.dtype) -> Tensor:
    return (words >> 9).to(dtype).add_(0.5).mul_(2.0**-23)


def _normal(words: Tensor, dtype: torch.dtype) -> Tensor:
    """Box and Muller's transform of pairs."""
    both = _unit(words, dtype).unflatten(-1, (-1, 2))
    radius, angle = torch.log(both[..., 0]).mul_(-2).sqrt_(), both[..., 1] * (2 * math.pi)
    torch.mul(radius, torch.cos(angle), out=both[..., 0])
    torch.mul(radius, angle.sin_(), out=both[..., 1])
    return both.flatten(-2)


def _checked(name: str, value: Tensor, shape: Sequence[int]) -> Tensor:
    if tuple(value.shape) != tuple(shape):
        raise ValueError(f"the given {name!r} has shape {tuple(value.shape)}, asked for {tuple(shape)}")
    return value


class FixedDraws:
    """Draws whose values are given by name: `FixedDraws(noise=…, time=…)`, for tests and for exact formulas.

    A name that is not given is a ValueError; "drop" alone may be missing, and then no condition is dropped.
    """

    def __init__(self, **values: Tensor) -> None:
        self.values = values

    def _value(self, name: str, shape: Sequence[int]) -> Tensor:
        if name not in self.values:
            raise ValueError(f"FixedDraws has no {name!r}; given: {', '.join(sorted(self.values)) or 'nothing'}")
        return _checked(name, self.values[name], shape)

    def has(self, name: str) -> bool:
        """Whether the values of this name are given ones."""
        return name in self.values

    def normal(self, name: str, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """The given tensor."""
        return self._value(name, shape).to(dtype)

    def uniform(self, name: str, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """The given tensor; ones for a "drop" that was not given."""
        if name == "drop" and name not in self.values:
            device = next(iter(self.values.values())).device if self.values else None
            return torch.ones(tuple(shape), dtype=dtype, device=device)
        return self._value(name, shape).to(dtype)

    def cycle(self, name: str, period: int, *, every: int = 1) -> Tensor:
        """The given (B,) tensor, modulo the period."""
        value = self.values.get(name)
        if value is None:
            raise ValueError(f"FixedDraws has no {name!r}; given: {', '.join(sorted(self.values)) or 'nothing'}")
        return value.to(torch.int64) % period


AnyDraws = Draws | FixedDraws

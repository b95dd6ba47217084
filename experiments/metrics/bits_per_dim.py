"""Bits per dimension: how long a code for fresh data the model makes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch

from experiments.config.marks import Range
from experiments.metrics.base import Measuring, Model, ModelMetric
from objectives import Draws, Objective
from objectives.likelihood import bits_per_dimension
from objectives.solvers import Dopri5

EXACT = 16
"""The largest number of elements of a sample of which the divergence is exact by default."""


@dataclass(frozen=True)
class BitsPerDim(ModelMetric):
    """Bits per dimension of held-out samples under the exact flow, with the standard error of their mean.

    −log₂ p(x)/D, the mean over the first `num` rows of the held-out split, each under its own condition, without
    guidance. Where the data are rounded to cells of a known width Δ, as 8-bit images are, every element is dequantised,
    moved to a uniformly random place in its cell, and −log₂ Δ is added: an upper bound on the bits of the rounded
    values. Else it is of the density itself, and may be negative. The standard error is over the rows, and holds what
    the dequantisation and Hutchinson's probes add.
    Source: Theis et al. 2016 (A note on the evaluation of generative models), §3.1; objectives.likelihood.

    Args:
        num: rows, at least 2; all where there are fewer.
        probes: random directions of Hutchinson's estimate of the divergence; 0 for the exact one, which costs a
            backward pass for each element. Null: exact up to 16 elements, else one probe.

    Raises:
        ValueError: an argument out of range.
    """

    num: Annotated[int, Range(at_least=2)] = 256
    probes: Annotated[int, Range(at_least=0)] | None = None

    def __post_init__(self) -> None:
        if self.num < 2 or (self.probes is not None and self.probes < 0):
            raise ValueError(f"takes at least 2 rows and 0 probes or more, got num={self.num}, probes={self.probes}")

    @property
    def columns(self) -> tuple[str, ...]:
        return "bits_per_dim", "bits_per_dim_error"

    def check(self, objective: Objective) -> None:
        Dopri5().check(objective)

    def __call__(self, model: Model, how: Measuring) -> dict[str, float]:
        rows = model.data.real.dataset("validation")
        batch = rows[torch.arange(min(self.num, len(rows)))]
        x, cell = batch["x"].to(how.dtype), model.data.real.cell
        size = x[0].numel()
        if cell is not None:
            uniforms = Draws(how.seed, 0, torch.arange(len(x)), len(x)).uniform("dequantisation", x.shape, x.dtype)
            x = x + cell * (uniforms - 0.5)
        probes = (0 if size <= EXACT else 1) if self.probes is None else self.probes
        try:
            nats = model.log_likelihood(
                x, batch.get("condition"), weights=how.weights, probes=probes, seed=how.seed, check=how.check
            )
        except FloatingPointError:
            return dict.fromkeys(self.columns, math.nan)
        bits = bits_per_dimension(nats.double(), size, bin_width=1.0 if cell is None else cell)
        return dict(zip(self.columns, (float(bits.mean()), float(bits.std()) / math.sqrt(len(bits))), strict=True))

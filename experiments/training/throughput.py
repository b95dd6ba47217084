"""How fast a training is and what it takes: samples per second, model FLOPs utilisation, peak memory."""

from __future__ import annotations

import resource
import sys
from functools import cached_property

import torch

from experiments.flops import flops_per_sample, peak
from experiments.training.module import TrainingModule

GIB = 2**30
MACHINE = frozenset({"steps_per_second", "images_per_second", "flops_utilisation", "memory_gib"})
"""Logged numbers that tell of the machine and not of the training: they alone differ between equal runs."""


def peak_memory(device: torch.device) -> float:
    """Largest memory of this process so far, in bytes: allocated on an accelerator, else the resident set."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(largest if sys.platform == "darwin" else 1024 * largest)


class Throughput:
    """The speed of one training in the units that others are told in."""

    def __init__(self, module: TrainingModule):
        self.module = module

    @cached_property
    def utilisation_at_one_step_per_second(self) -> float | None:
        """Model FLOPs per step over what all devices can do in a second; None where that is unknown."""
        config = self.module.config
        limit = peak(self.module.device, config.trainer.precision)
        if limit is None:
            return None
        devices = self.module.trainer.world_size
        needed = flops_per_sample(
            self.module.objective,
            config.backbone,
            self.module.backbone.spec,  # pyright: ignore[reportArgumentType]
            batch=config.trainer.batch_size // (devices * config.trainer.accumulate),
        )
        return needed * config.trainer.batch_size / (limit * devices)

    def numbers(self, rate: float) -> dict[str, float]:
        """``images_per_second``, ``flops_utilisation`` (where the device's peak is known), ``memory_gib``.

        Args:
            rate: optimiser steps per second.
        """
        found = {
            "images_per_second": rate * self.module.config.trainer.batch_size,
            "memory_gib": peak_memory(self.module.device) / GIB,
        }
        share = self.utilisation_at_one_step_per_second if self.module.trainer.is_global_zero else None
        return found if share is None else {**found, "flops_utilisation": rate * share}

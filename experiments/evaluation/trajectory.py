"""The way from noise to samples, as an animation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

import torch
from torch import Tensor

from datamodules.base import DataModule
from experiments.evaluation.sheets import sheet
from objectives.paths import Path

MOST = 48
"""Frames of an animation; of a longer path as many steps are shown, evenly spaced."""
FRAME, FIRST, LAST = 90, 700, 2000
"""Milliseconds that a frame, the noise and the samples are shown."""


@dataclass
class Trajectory:
    """Collects z_t before the first and after every step of a sampling in ``steps`` steps.

    z_t = a(t)·x + b(t)·ε is kept divided by √(a² + b²) where that is above 1, so that noise on the variance-exploding
    path is of the size of data; on the other paths it is z_t itself.
    """

    path: Path
    steps: int
    times: dict[int, float] = field(default_factory=dict)
    _states: dict[int, list[Tensor]] = field(default_factory=dict, repr=False)

    def watch(self, done: int, time: float, z: Tensor) -> None:
        """Keep z after ``done`` steps if this is one of the states that are shown; batches are put together."""
        if done not in self.shown:
            return
        t = torch.tensor([time], dtype=torch.float64)
        size = math.hypot(float(self.path.a(t)), float(self.path.b(t)))
        self.times[done] = time
        self._states.setdefault(done, []).append((z / max(1.0, size)).float().cpu())

    @property
    def shown(self) -> set[int]:
        """The numbers of steps done whose states are kept: 0, the last, and at most MOST in all."""
        count = min(MOST, self.steps + 1)
        return {round(at * self.steps / max(1, count - 1)) for at in range(count)}

    def save(self, file: File, data: DataModule, *, condition: dict[str, Tensor] | None, caption: str) -> File:
        """Write the animation, an APNG, to ``file``; a program that shows stills shows the samples."""
        from PIL import Image

        frames: list[Any] = []
        for done in sorted(self._states):
            told = f"{caption}\nstep {done} of {self.steps}, t = {self.times[done]:.3f}"
            x = torch.cat(self._states[done])
            frames.append(Image.fromarray(sheet(data, x, condition=condition, caption=told)))
        durations = [FIRST, *[FRAME] * (len(frames) - 2), LAST]
        file.parent.mkdir(parents=True, exist_ok=True)
        frames[-1].save(
            file, "PNG", save_all=True, append_images=frames, default_image=True, duration=durations, loop=0
        )
        return file

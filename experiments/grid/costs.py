"""What the cells of a grid cost before they are run: FLOPs, time and disk. Needs torch, on the meta device alone."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.config import Config, Plugin, averages
from experiments.config.checks import meta_backbone
from experiments.config.plugins import build_cached
from experiments.flops import network_flops, passes_per_sample
from experiments.grid.planning import Planned
from experiments.grid.study import Study

Kind = tuple[int, int, int, int]
"""Cells alike in what a step costs them: objective, backbone and data (by identity), and batch size."""

ALIKE = 5
"""So many done cells of a kind, or of a backbone, are looked at; more would say the same."""


@dataclass(frozen=True)
class Cost:
    """Of one cell, from its first step to its last: FLOPs of the model, seconds of one worker, bytes on disk."""

    flops: float
    seconds: float | None
    bytes: float


class Costs:
    """What cells cost.

    Time is known from cells that are done or from steps that were measured, ``seconds`` per step by kind. A kind of
    which nothing is known is taken to do as many FLOPs in a second as those of which something is.
    """

    def __init__(self, seconds: Mapping[Kind, float], disk: Mapping[str, float] | None = None):
        self._seconds, self._disk = dict(seconds), dict(disk or {})
        self._sizes: dict[tuple[int, int, bool], tuple[int, int]] = {}
        self._passes: dict[tuple[int, int, int], float] = {}
        self._kinds: dict[Kind, tuple[float, int]] = {}
        self._costs: dict[tuple[int, ...], Cost] = {}
        self._rate: float | None = None

    def of(self, config: Config) -> Cost:
        """The cost of a cell."""
        place = tuple(
            [id(part) for part in (config.objective, config.backbone, config.data, config.trainer, config.ema)]
        )
        if place not in self._costs:
            self._costs[place] = self._of(config)
        return self._costs[place]

    def _of(self, config: Config) -> Cost:
        steps = config.trainer.max_steps
        flops, parameters = self._kind(config)
        each = self.seconds_per_step(config)
        known = self._disk.get(config.backbone.label)
        size = known if known is not None else disk_bytes(config, parameters)
        return Cost(flops * steps, None if each is None else each * steps, size)

    def flops_per_step(self, config: Config) -> float:
        """Model FLOPs of one optimiser step: the network's forward passes × batch."""
        return self._kind(config)[0]

    def seconds_per_step(self, config: Config) -> float | None:
        """Seconds of one worker, or None where nothing at all is known."""
        known = self._seconds.get(kind_of(config))
        return known if known is not None or self._rate is None else self.flops_per_step(config) / self._rate

    def learn(self, configs: Sequence[Config]) -> None:
        """Take the speed of unknown kinds from the known ones among these cells: FLOPs in a second, all together."""
        known = {kind: config for config in configs if (kind := kind_of(config)) in self._seconds}
        if known:
            flops = sum(map(self.flops_per_step, known.values()))
            self._rate = flops / sum(self._seconds[kind] for kind in known)
            self._costs.clear()

    def _kind(self, config: Config) -> tuple[float, int]:
        """FLOPs of a step and parameters of the network."""
        kind = kind_of(config)
        if kind not in self._kinds:
            objective, spec = build_cached(config.objective), build_cached(config.data).spec
            place = (id(config.backbone), id(config.data), objective.needs.step)
            if place not in self._sizes:
                self._sizes[place] = _size(config.backbone, config.data, objective.needs.step)
            parameters, flops = self._sizes[place]
            trainer = config.trainer
            rows = trainer.batch_size // (trainer.devices * trainer.nodes * trainer.accumulate)
            asked = (id(config.objective), id(config.data), rows)
            if asked not in self._passes:
                self._passes[asked] = passes_per_sample(objective, spec, batch=rows)
            self._kinds[kind] = self._passes[asked] * flops * config.trainer.batch_size, parameters
        return self._kinds[kind]


def kind_of(config: Config) -> Kind:
    """What decides how long a step takes."""
    return id(config.objective), id(config.backbone), id(config.data), config.trainer.batch_size


def disk_bytes(config: Config, parameters: int) -> float:
    """Bytes that a finished run leaves: the checkpoints that are kept, the exports and the power snapshots.

    A checkpoint is the weights, two moments and the averages, an export one set of weights (each average, the raw ones
    and the best), all float32; a snapshot is float16.
    """
    trainer, ema = config.trainer, config.ema
    written = math.ceil(trainer.max_steps / trainer.checkpoint_every)
    kept = min(trainer.keep_checkpoints, written)
    if trainer.keep_every:
        kept += trainer.max_steps // trainer.keep_every
    kinds = len(averages.names(ema))
    every = ema.snapshot_every or max(1, trainer.max_steps // 32)
    snapshots = len(ema.profiles) * (trainer.max_steps // every)
    return 4.0 * parameters * (kept * (3 + kinds) + kinds + 2 + snapshots / 2)


def costs_of(study: Study, planned: Sequence[Planned], done: set[str], measured: Mapping[Kind, float]) -> Costs:
    """What is known from the done cells of a study (``done`` are their hashes) and from what was measured."""
    seconds: dict[Kind, list[float]] = {}
    disk: dict[str, list[float]] = {}
    for one in planned:
        if one.cell.hash not in done:
            continue
        times = seconds.setdefault(kind_of(one.config), [])
        if len(times) < ALIKE and (took := study.seconds(one.cell)):
            times.append(took / one.cell.max_steps)
        sizes = disk.setdefault(one.cell.backbone, [])
        if len(sizes) < ALIKE:
            sizes.append(_bytes(study.run(one.cell).path))
    known = {kind: sum(times) / len(times) for kind, times in seconds.items() if times}
    costs = Costs({**measured, **known}, {name: sum(sizes) / len(sizes) for name, sizes in disk.items()})
    costs.learn([one.config for one in planned])
    return costs


def _size(backbone: Plugin, data: Plugin, step: bool) -> tuple[int, int]:
    """Parameters of a network, and FLOPs of its forward pass for one sample."""
    network = meta_backbone(backbone, data, step=step)
    return sum(parameter.numel() for parameter in network.parameters()), network_flops(network)


def _bytes(folder: Path) -> float:
    return float(
        sum(os.path.getsize(os.path.join(where, name)) for where, _, names in os.walk(folder) for name in names)
    )

"""What the cells of a grid cost before they are run: FLOPs, time and disk. Needs torch, on the meta device alone."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.config import Config, Plugin, averages
from experiments.config.checks import meta_backbone
from experiments.config.plugins import build_cached
from experiments.flops import evaluations_per_sample, network_flops, passes
from experiments.grid.built_on import BuiltOn
from experiments.grid.planning import Planned
from experiments.grid.study import Study
from experiments.pairs.fitting import chosen_solver

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

    Args:
        seconds: of a step, by kind.
        disk: bytes of a run, by backbone.
        built_on: what cells build on, teachers and flows that make pairs.
        whole: kinds whose seconds are those of whole cells, so that the making of their pairs is in them.
    """

    def __init__(
        self,
        seconds: Mapping[Kind, float],
        disk: Mapping[str, float] | None = None,
        *,
        built_on: BuiltOn | None = None,
        whole: Collection[Kind] = (),
    ):
        self._seconds, self._disk = dict(seconds), dict(disk or {})
        self._built_on, self._whole = built_on or BuiltOn([]), whole
        self._sizes: dict[tuple[int, int, bool], tuple[int, int]] = {}
        self._passes: dict[tuple[int, int, int], tuple[float, float]] = {}
        self._kinds: dict[tuple[int, ...], tuple[float, int]] = {}
        self._costs: dict[tuple[object, ...], Cost] = {}
        self._evaluations: dict[tuple[object, ...], int] = {}
        self._rate: float | None = None

    def of(self, config: Config) -> Cost:
        """The cost of a cell."""
        sections = (config.objective, config.backbone, config.data, config.trainer, config.ema)
        place = (*map(id, sections), *self._built_on.place(config))
        if place not in self._costs:
            self._costs[place] = self._of(config)
        return self._costs[place]

    def _of(self, config: Config) -> Cost:
        steps = config.trainer.max_steps
        flops, parameters = self._kind(config)
        each = self.seconds_per_step(config)
        known = self._disk.get(config.backbone.label)
        size = known if known is not None else disk_bytes(config, parameters)
        made = self._pairs(config)
        waiting = 0.0 if self._rate is None or kind_of(config) in self._whole else made / self._rate
        return Cost(flops * steps + made, None if each is None else each * steps + waiting, size)

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
        teacher = self._built_on.teacher(config)
        kind = (*kind_of(config), id(teacher.backbone) if teacher else 0)
        if kind not in self._kinds:
            objective, spec = build_cached(config.objective), build_cached(config.data).spec
            parameters, flops = self._size(config, config.data)
            trainer = config.trainer
            rows = trainer.batch_size // (trainer.devices * trainer.nodes * trainer.accumulate)
            asked = (id(config.objective), id(config.data), rows)
            if asked not in self._passes:
                self._passes[asked] = passes(objective, spec, batch=rows)
            own, its = self._passes[asked]
            each = own * flops + its * (self._size(teacher, config.data)[1] if teacher else flops)
            self._kinds[kind] = each * config.trainer.batch_size, parameters
        return self._kinds[kind]

    def _size(self, config: Config, data: Plugin) -> tuple[int, int]:
        """Parameters of a run's network, and FLOPs of its forward pass for one sample."""
        step = build_cached(config.objective).needs.step
        place = (id(config.backbone), id(data), step)
        if place not in self._sizes:
            network = meta_backbone(config.backbone, data, step=step)
            size = sum(parameter.numel() for parameter in network.parameters())
            self._sizes[place] = size, network_flops(network)
        return self._sizes[place]

    def _pairs(self, config: Config) -> float:
        """FLOPs of making a cell's pairs: its part where several cells are trained on one set."""
        wanted, flow = config.pairs, self._built_on.flow(config)
        if wanted is None or flow is None:
            return 0.0
        how = (wanted.steps, chosen_solver(wanted, flow), wanted.guidance)
        place = (id(flow.objective), *how)
        if place not in self._evaluations:
            self._evaluations[place] = evaluations_per_sample(build_cached(flow.objective), *how)
        return self._evaluations[place] * wanted.num * self._size(flow, config.data)[1] / self._built_on.sharing(config)


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
    sizes_of = {name: sum(sizes) / len(sizes) for name, sizes in disk.items()}
    costs = Costs({**measured, **known}, sizes_of, built_on=BuiltOn(planned), whole=known)
    costs.learn([one.config for one in planned])
    return costs


def _bytes(folder: Path) -> float:
    return float(
        sum(os.path.getsize(os.path.join(where, name)) for where, _, names in os.walk(folder) for name in names)
    )

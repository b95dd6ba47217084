"""The sections of a configuration, their fields, defaults and ranges, and which of them make a run what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from experiments.config.marks import ADDED, IDENTITY, Pattern, Plugins, Range
from experiments.config.run_weights import Count, RunPairs, RunWeights, Seed, Weights

Device = Literal["auto", "cpu", "gpu"]
Precision = Literal["32-true", "bf16-mixed", "bf16-true", "64-true"]
Strategy = Literal["auto", "ddp", "fsdp"]
Spike = Literal["skip", "stop", "roll_back"]
Share = Annotated[float, Range(at_least=0, at_most=1)]
Origin = Annotated[str, Pattern(r"[a-z0-9-]+:[0-9a-f]{64}", "LAYOUT:SHA-256, as `fewstep import` writes it")]


@dataclass(frozen=True)
class EMA:
    """Exponential moving averages of the backbone's weights; the first is the one that is evaluated.

    Attributes:
        decays: one average per decay.
        warmup: keep these averages young at the start of the training.
        profiles: one of EDM2's power profiles per relative width; snapshots of them give any other width afterwards.
        snapshot_every: steps between snapshots; null for 32 over the training.
    """

    decays: Annotated[tuple[Annotated[float, Range(at_least=0, below=1)], ...], IDENTITY] = (0.999,)
    warmup: Annotated[bool, IDENTITY] = True
    profiles: Annotated[tuple[Annotated[float, Range(above=0, at_most=0.28)], ...], ADDED] = ()
    snapshot_every: Count | None = None


@dataclass(frozen=True)
class Trainer:
    """How long, on what and how a run is trained.

    Attributes:
        max_steps: optimiser steps.
        batch_size: samples per optimiser step, over all devices and accumulated micro-batches.
        accumulate: micro-batches per optimiser step.
        precision: "32-true", "bf16-mixed", "bf16-true" (averages, loss and times stay float32) or "64-true".
        clip: largest norm of the gradient; null for none.
        compile: torch.compile the backbone.
        devices: processes per node.
        nodes: machines.
        strategy: how several processes share the work: "ddp" (every one holds the network; what "auto" takes) or "fsdp"
            (each holds its part of the weights, averages and optimiser state: FSDP2).
        activation_checkpointing: compute each block again in the backward pass rather than keep its activations.
        accelerator: where it runs.
        threads: torch threads per process; null leaves torch's own.
        workers: loader processes.
        log_every: steps between scalars.
        health: log the losses against time and step size, the weights' norm and how far a step moves them.
        activation_stats: log each block's activations and largest attention logit; not with compile.
        spike: what is done about a step whose gradient norm or loss leaps: "skip" it, "stop" at the next logged step,
            or then "roll_back" to the checkpoint before it and go on with other draws; null for nothing.
        spike_factor: how many times its running median a norm or loss must be, to leap.
        spike_window: steps of which the median is taken; nothing leaps before half of them.
        validate_every: steps between validations.
        validation_num: rows of the validation split, its first, of which the validation loss is; null for all.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: how many of the last checkpoints stay.
        keep_every: steps between checkpoints that stay for good; null for none.
        rank_timeout: seconds without a sign of life after which a process is taken to hang, and all are ended.
        sample_every: steps between sample sheets; null for none.
        trackers: where scalars and pictures go; csv is always among them.
    """

    max_steps: Annotated[Count, IDENTITY] = 2000
    batch_size: Annotated[Count, IDENTITY] = 64
    accumulate: Count = 1
    precision: Annotated[Precision, IDENTITY] = "32-true"
    clip: Annotated[Annotated[float, Range(above=0)] | None, IDENTITY] = 1.0
    compile: bool = False
    devices: Count = 1
    nodes: Count = 1
    strategy: Strategy = "auto"
    activation_checkpointing: bool = False
    accelerator: Device = "auto"
    threads: Count | None = None
    workers: Annotated[int, Range(at_least=0)] = 0
    log_every: Count = 50
    health: bool = True
    activation_stats: bool = False
    spike: Annotated[Spike | None, ADDED] = None
    spike_factor: Annotated[Annotated[float, Range(above=1)], ADDED] = 4.0
    spike_window: Annotated[Count, ADDED] = 200
    validate_every: Count = 500
    validation_num: Count | None = None
    checkpoint_every: Count = 200
    keep_checkpoints: Count = 3
    keep_every: Count | None = None
    rank_timeout: Annotated[float, Range(above=0)] = 120.0
    sample_every: Count | None = None
    trackers: tuple[Annotated[str, Plugins("trackers")], ...] = ("csv", "tensorboard")


@dataclass(frozen=True)
class Evaluation:
    """What is measured after the training; no part of a run's identity.

    Attributes:
        steps: numbers of solver steps, each evaluated.
        weights: which weights: "ema" (the first average), "raw" (the trained ones), other averages by name.
        num: samples per evaluation.
        guidance: w of classifier-free guidance; 1 is none.
        guidance_interval: (lowest, highest) path time at which to guide; null guides everywhere.
        guidance_rescale: how far the guided output is drawn back to the conditional one's standard deviation.
        guidance_channels: guide the first so many channels alone, as DiT's own sampling does; null for all.
        solver: null takes the objective's own.
        grid: the times to sample at; null takes the objective's own.
        dtype: of the arithmetic around the network, whatever it was trained in.
        metrics: what to measure: distances of the samples, and numbers of the model such as "bits_per_dim".
        features: extractor that they look through; null takes the data's own.
        batch_size: samples drawn at once.
        seed: of the noise that is sampled from.
    """

    steps: tuple[Count, ...] = (1, 4, 128)
    weights: tuple[Weights, ...] = ("ema", "raw")
    num: Annotated[int, Range(at_least=2)] = 1024
    guidance: Annotated[float, Range(at_least=0)] = 1.0
    guidance_interval: tuple[Share, Share] | None = None
    guidance_rescale: Share = 0.0
    guidance_channels: Count | None = None
    solver: Annotated[str, Plugins("solvers")] | None = None
    grid: Annotated[str, Plugins("time_grids")] | None = None
    dtype: Literal["float32", "float64"] = "float32"
    metrics: tuple[Annotated[str, Plugins("metrics")], ...] = (
        "frechet_distance",
        "kernel_distance",
        "precision_recall",
        "memorisation",
    )
    features: Annotated[str, Plugins("features")] | None = None
    batch_size: Count = 512
    seed: Seed = 0


PLUGINS: Mapping[str, tuple[str, str]] = {
    "objective": ("objectives", "rf/lognorm(0,1)"),
    "backbone": ("backbones", "dit"),
    "data": ("datamodules", "digits"),
    "optimizer": ("optimizers", "adamw"),
    "schedule": ("schedules", "cosine"),
}
"""The sections that name a plugin: section -> (plugin group, default)."""

SETTINGS: Mapping[str, type[EMA] | type[Trainer] | type[Evaluation]] = {
    "ema": EMA,
    "trainer": Trainer,
    "evaluation": Evaluation,
}
"""The sections that hold settings."""

VALUES: Mapping[str, tuple[object, object]] = {
    "seed": (Seed, 0),
    "name": (str | None, None),
    "origin": (Origin | None, None),  # pyright: ignore[reportOperatorIssue]
}
"""The single values: key -> (type, default).

``origin`` says which tensors of others a run began with, in which layout; null has no part in the identity.
"""

RUNS: Mapping[str, type[RunWeights]] = {"teacher": RunWeights, "start": RunWeights, "pairs": RunPairs}
"""The sections that name another run's weights or are null: a frozen teacher, what to begin with, and what makes pairs.

Null has no part in the identity: runs from before there were such sections keep their hashes.
"""

KEYS: tuple[str, ...] = (*PLUGINS, *SETTINGS, *VALUES, *RUNS)

"""Training one run, from its newest whole checkpoint to the last step."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy

from datamodules.base import DataError
from datamodules.order import TrainingOrder
from experiments import weights
from experiments.components import Components, build
from experiments.config import Config
from experiments.console import Reporter
from experiments.errors import Interrupted, RunFailed, UserError
from experiments.evaluation.sampling import draw_samples, legal_steps
from experiments.evaluation.sheets import sheet, sheet_caption
from experiments.evaluation.validation import validation_losses
from experiments.pairs.prepare import training_data
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.trackers.base import Tracker
from experiments.trackers.chosen import chosen
from experiments.trackers.fenced import Fenced
from experiments.training import callbacks, checkpoints, export, snapshots
from experiments.training.activations import Activations
from experiments.training.background import Files
from experiments.training.built_on import starting_weights, trained_teacher
from experiments.training.guard import Guard, go_back
from experiments.training.health import Health
from experiments.training.laid_out import LaidOutModule
from experiments.training.module import TrainingModule
from experiments.training.precision import LIGHTNING
from experiments.training.ranks import Ranks
from experiments.training.saving import Save
from experiments.training.spikes import RollBack

QUIET = (
    ".*in eval mode.*", ".*does not have many workers.*", ".*tensorboardX.*", ".*LeafSpec.*", ".*`srun` command.*"
)  # fmt: skip
"""Lightning's warnings that mean nothing here."""
SHEET = 64  # images on the sheet that trackers get
UNASKED = 16  # solver steps of that sheet where no evaluation is asked for, or as many of them as the objective takes


def fit(
    run: Run, *, stop: Stop, reporter: Reporter, parts: Components | None = None, extra: Sequence[Callback] = ()
) -> None:
    """Train ``run`` to its last step, with ``parts`` in place of what its configuration names, and ``extra`` callbacks.

    Raises :class:`Interrupted` where a stop came first (its checkpoint is written then), :class:`RunFailed` where the
    loss is not finite, a step leaps or memory is exhausted, :class:`UserError` for another architecture's checkpoint.
    """
    torch.manual_seed(run.config.seed)
    if parts is None:
        parts = build(run.config, lay_out=_divides(run.config))
        parts = replace(parts, data=training_data(run.config, parts.data, run.path))
    try:
        parts.data.setup()
    except DataError as error:
        raise UserError(str(error)) from error
    count = 0
    while True:
        try:
            return _go_on(run, parts, count, stop, reporter, extra)
        except RollBack as back:
            count, before = back.count, back.with_traceback(None)  # which would keep everything that it passed
        reporter.notice(go_back(run, before))
        fresh = build(run.config, lay_out=_divides(run.config))
        parts = Components(parts.data, fresh.objective, fresh.backbone)


def _go_on(
    run: Run, parts: Components, roll_backs: int, stop: Stop, reporter: Reporter, extra: Sequence[Callback]
) -> None:
    """Train from the newest whole checkpoint, after at least so many roll-backs."""
    config = run.config
    torch.manual_seed(config.seed)
    laid_out = next(parts.backbone.parameters()).is_meta
    kind = LaidOutModule if laid_out else TrainingModule
    trained = trained_teacher(run, lay_out=laid_out)
    module = kind(config, parts.objective, parts.backbone, parts.data.augment, trained)
    found = checkpoints.newest(run.checkpoints, whole=not laid_out)
    for notice in found.notices:
        reporter.notice(notice)
    if found.path:
        module.restore(found.state, str(found.path))
    elif (weights := starting_weights(run, whole=not laid_out)) is not None:
        module.begin(weights)
    elif config.origin is not None:
        raise UserError(
            f"{run.path} has no checkpoint to go on from, and its origin says that its first weights are those of a "
            "file: fewstep import makes it. Without origin, training begins from the seed."
        )
    module.roll_backs = max(module.roll_backs, roll_backs)
    if module.first_step < config.trainer.max_steps:
        _train(run, module, parts, stop, reporter, extra)


def _train(
    run: Run, module: TrainingModule, parts: Components, stop: Stop, reporter: Reporter, extra: Sequence[Callback]
) -> None:
    config, first, last = run.config, module.first_step, run.config.trainer.max_steps
    trackers: list[Tracker] = []  # rank 0's alone, and only the trainer knows which rank this is
    trainer = _trainer(config, last - first, [*_callbacks(run, parts, trackers, stop, reporter), *extra])
    if trainer.is_global_zero:
        for folder in (export.FOLDER, snapshots.FOLDER):
            weights.sweep(run.path / folder)
        trackers += [Fenced(tracker, run) for tracker in chosen(config.trainer.trackers)]
        for tracker in trackers:
            tracker.open(run, first_step=first)
        run.write_status("running", step=first, max_steps=last)
        reporter.begin(config.run_name, done=first, total=last)
    loader = parts.data.loader("train", _order(parts, trainer, config, module), config.trainer.workers)
    if config.trainer.compile:
        module.compile_networks()
    started = time.monotonic()
    try:
        trainer.fit(module, train_dataloaders=loader)
    except torch.OutOfMemoryError as error:
        raise RunFailed(f"Out of memory on the device: {error}") from error
    except DataError as error:
        raise RunFailed(str(error), "data") from error
    finally:
        reporter.end()
        for tracker in trackers:
            tracker.close()
    done = first + trainer.global_step
    if trainer.is_global_zero:
        seconds = run.status.get("training_seconds", 0.0) + time.monotonic() - started
        run.write_status("running", step=done, max_steps=last, training_seconds=seconds)
    if done < last:
        raise Interrupted(f"Stopped after step {done} of {last}; its checkpoint is written.")


def _order(parts: Components, trainer: Trainer, config: Config, module: TrainingModule) -> TrainingOrder:
    return TrainingOrder(
        len(parts.data.dataset("train")),
        config.trainer.batch_size,
        module.seed,
        rank=trainer.global_rank,
        world=trainer.world_size,
        accumulate=config.trainer.accumulate,
        start_step=module.first_step,
        max_steps=config.trainer.max_steps,
    )


def _trainer(config: Config, steps: int, own: Sequence[Callback]) -> Trainer:
    """Lightning's trainer without what we do ourselves: loggers, checkpoints, progress bar, samplers."""
    settings = config.trainer
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for text in QUIET:
        warnings.filterwarnings("ignore", text)
    return Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.nodes,
        plugins=[LightningEnvironment()],  # also inside a SLURM job: we start ranks, stop and requeue by ourselves
        strategy=_strategy(config),
        precision=LIGHTNING.get(settings.precision, "32-true"),  # pyright: ignore[reportArgumentType]
        max_steps=steps,
        max_epochs=-1,
        callbacks=callbacks.Several(own),
        accumulate_grad_batches=settings.accumulate,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        inference_mode=False,
        profiler=_Unprofiled(),
    )


class _Unprofiled(PassThroughProfiler):
    """Lightning enters its profiler some seventy times a step: this one has nothing to enter."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> Any:
        return self._nothing


def _divides(config: Config) -> bool:
    """Whether several processes divide the network, so that none needs all of it."""
    return config.trainer.strategy == "fsdp" and config.trainer.devices * config.trainer.nodes > 1


def _strategy(config: Config) -> str | Strategy:
    """For several processes: DDP (no buffers to broadcast, gradients as views of the buckets), or FSDP2."""
    if config.trainer.devices * config.trainer.nodes == 1:
        return "auto"
    if _divides(config):
        return ModelParallelStrategy(
            data_parallel_size=config.trainer.devices * config.trainer.nodes, tensor_parallel_size=1
        )
    return DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True)


def _callbacks(run: Run, parts: Components, trackers: list[Tracker], stop: Stop, reporter: Reporter) -> list[Callback]:
    config, files = run.config, Files()
    best = export.Best(run, files)

    def report(step: int, values: dict[str, float]) -> None:
        if "loss" in values:
            reporter.advance(step, f"loss {values['loss']:.4f}  {values['steps_per_second']:.1f} steps/s")

    def losses(module: TrainingModule, check: callbacks.Check) -> dict[str, float]:
        networks: dict[str, Any] = {"raw": module.backbone} | ({"ema": module.emas[0]} if len(module.emas) else {})
        values: dict[str, float] = {}
        for name, network in networks.items():
            found = validation_losses(
                module.objective, network, parts.data,
                device=module.device, num=config.trainer.validation_num, world=True, check=check,
            )  # fmt: skip
            values[f"validation/loss_{name}"] = sum(found) / len(found)
            values |= {f"validation/loss_{name}_t{i}": value for i, value in enumerate(found)}
        best.offer(module, values)
        return values

    def pixels(module: TrainingModule, check: callbacks.Check) -> Any:
        network = module.emas[0] if len(module.emas) else module.backbone
        steps = max(config.evaluation.steps, default=legal_steps(module.objective, UNASKED))
        drawn = draw_samples(
            module.objective, network, parts.data, steps=steps, num=SHEET, device=module.device, check=check
        )
        caption = sheet_caption(steps, "ema" if len(module.emas) else "raw")
        return sheet(parts.data, drawn.x, condition=drawn.condition, caption=caption)

    ranks = Ranks(run, stop)
    return [
        ranks,
        *([Health()] if config.trainer.health else []),
        *([Activations(trackers)] if config.trainer.activation_stats else []),
        *([Guard()] if config.trainer.spike else []),
        callbacks.Record(run, trackers, report),
        callbacks.Validate(losses, ranks, trackers, report),
        callbacks.Picture(pixels, ranks, trackers),
        snapshots.TakeSnapshots(run, files),
        Save(run, ranks, trackers, files),
    ]

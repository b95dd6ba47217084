"""Measuring a run: distances of its samples to both splits, validation loss, NFE and time, for each number of steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from experiments import chaos
from experiments.config.plugins import build_cached
from experiments.config.schema import Evaluation, Weights
from experiments.console import Reporter
from experiments.errors import UserError
from experiments.evaluation.loaded import LoadedRun
from experiments.evaluation.sampling import plugin
from experiments.evaluation.sheets import sheet_caption
from experiments.evaluation.validation import TIMES, validation_losses
from experiments.features import FeatureExtractor, extract
from experiments.flops import flops_per_sample
from experiments.metrics import Measuring, Metric, ModelMetric, SampleFeatures
from experiments.registry import entries
from experiments.runs import evaluation_key, evaluation_settings
from experiments.stopping import Stop
from objectives import Guidance

SHEET = 64  # samples on a sheet


def evaluate(
    loaded: LoadedRun, settings: Evaluation, *, reporter: Reporter, stop: Stop | None = None
) -> dict[str, Any]:
    """Evaluate ``loaded`` with ``settings``, write ``evaluations/KEY.json`` and the sheets, and return its content.

    ``{"settings", "step", "model", "rows": one for each weights × steps, "validation": one for each weights}``; metrics
    of the samples stand in the rows, those of the model in the validation, its size and cost under model. Raises
    :class:`Interrupted` between batches where ``stop`` asks for it, :class:`UserError` for settings that do not fit.
    """
    stop = stop or Stop()
    metrics = [plugin("metrics", "metrics", name) for name in settings.metrics]
    of_samples = [metric for metric in metrics if isinstance(metric, Metric)]
    of_model = [metric for metric in metrics if isinstance(metric, ModelMetric)]
    _check(loaded, settings, of_model)
    name = settings.features or loaded.data.features
    extractor: FeatureExtractor = entries("features")[name].load()().to(loaded.device)
    real = loaded.data.real
    splits = {split: extract(extractor, real, real.dataset(split).x) for split in ("train", "validation")}
    total = len(settings.weights) * len(settings.steps) * settings.num
    reporter.begin(f"evaluating {loaded.config.run_name}", done=0, total=total)
    done = 0

    def check(count: int) -> None:
        nonlocal done
        done += count
        stop.check()
        chaos.reach("evaluation")
        reporter.advance(done)

    try:
        rows = [
            _row(loaded, settings, of_samples, extractor, splits, weights, steps, check)
            for weights in settings.weights
            for steps in settings.steps
        ]
    finally:
        reporter.end()
    result = {
        "settings": evaluation_settings(settings) | {"features": extractor.name},
        "step": loaded.step,
        "model": _model(loaded),
        "rows": rows,
        "validation": [_validation(loaded, settings, of_model, weights, stop) for weights in settings.weights],
    }
    loaded.run.write_evaluation(evaluation_key(settings), result)
    return result


def guidance(settings: Evaluation) -> Guidance:
    """The guidance that the settings describe."""
    return Guidance(
        settings.guidance, settings.guidance_interval, settings.guidance_rescale, channels=settings.guidance_channels
    )


def _check(loaded: LoadedRun, settings: Evaluation, metrics: Sequence[ModelMetric]) -> None:
    """Refuse a solver, a grid, a number of steps or a metric before anything is computed."""
    sampler = loaded.sampler(guidance=guidance(settings), solver=settings.solver, grid=settings.grid, weights="raw")
    try:
        for steps in settings.steps:
            sampler.times(steps)
        for metric in metrics:
            metric.check(loaded.objective)
    except ValueError as error:
        raise UserError(str(error)) from error
    for metric in metrics:
        metric.check_model(loaded)


def _row(
    loaded: LoadedRun,
    settings: Evaluation,
    metrics: Sequence[Metric],
    extractor: FeatureExtractor,
    splits: dict[str, Tensor],
    weights: Weights,
    steps: int,
    check: Callable[[int], None],
) -> dict[str, Any]:
    samples = loaded.sample(
        steps, num=settings.num, weights=weights, guidance=guidance(settings), solver=settings.solver,
        grid=settings.grid, dtype=settings.dtype, seed=settings.seed, batch_size=settings.batch_size, check=check,
    )  # fmt: skip
    name = f"{weights}-{steps}-steps-{evaluation_key(settings)}"
    caption = sheet_caption(steps, weights, settings.guidance, settings.solver)
    sheet, _ = loaded.save_samples(samples.first(SHEET), name, caption=caption)
    fake = extract(extractor, loaded.data, samples.x)
    features = SampleFeatures(
        train=splits["train"],
        heldout=splits["validation"],
        fake=fake,
        heldout_label=getattr(loaded.data.real.dataset("validation"), "label", None),
        fake_label=(samples.condition or {}).get("label"),
    )
    row: dict[str, Any] = {
        "weights": weights,
        "steps": steps,
        "nfe": samples.nfe,
        "solver": settings.solver or loaded.objective.solvers[0],
        "guidance": settings.guidance,
        "num": settings.num,
    }
    for metric in metrics:
        row |= metric(features)
    return row | {"seconds_per_image": samples.seconds_per_image, "sheet": str(sheet.relative_to(loaded.run.path))}


def _model(loaded: LoadedRun) -> dict[str, Any]:
    """``parameters`` of the network and ``training_flops``, model FLOPs up to this step; None where not countable."""
    config, flops = loaded.config, None
    # A plugin's network may not run on the meta device.
    with suppress(NotImplementedError, RuntimeError, TypeError):
        each = flops_per_sample(build_cached(config.objective), config.backbone, loaded.data.spec)
        flops = each * config.trainer.batch_size * loaded.step
    return {"parameters": sum(w.numel() for w in loaded.network("raw").parameters()), "training_flops": flops}


def _validation(
    loaded: LoadedRun, settings: Evaluation, metrics: Sequence[ModelMetric], weights: Weights, stop: Stop
) -> dict[str, Any]:
    losses = validation_losses(
        loaded.objective, loaded.network(weights), loaded.data,
        device=loaded.device, num=loaded.config.trainer.validation_num, check=stop.check,
    )  # fmt: skip
    found: dict[str, Any] = {
        "weights": weights, "times": list(TIMES), "loss": losses, "mean": sum(losses) / len(losses),
    }  # fmt: skip
    how = Measuring(
        weights, settings.seed, getattr(torch, settings.dtype), settings.batch_size, check=lambda done: stop.check()
    )
    for metric in metrics:
        found |= metric(loaded, how)
    return found

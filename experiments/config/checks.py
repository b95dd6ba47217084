"""Faults that no single value shows: what does not go together."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from experiments.config import averages
from experiments.config.faults import ConfigError, Fault
from experiments.config.plugins import Plugin, build_cached, resolve_plugin
from experiments.registry import resolve_name

if TYPE_CHECKING:
    from experiments.config.config import Config


def cross_faults(config: Config) -> list[Fault]:
    """Everything that does not go together in a configuration whose single values are right."""
    return [fault for check in CHECKS for fault in check(config)]


def _batch(config: Config) -> Iterator[Fault]:
    trainer = config.trainer
    parts = trainer.devices * trainer.nodes * trainer.accumulate
    place = ("trainer", "batch_size")
    if trainer.batch_size % parts:
        yield Fault(
            place,
            f"a batch of {trainer.batch_size} does not divide into {parts} equal parts "
            f"(devices {trainer.devices} × nodes {trainer.nodes} × accumulate {trainer.accumulate}); "
            f"nearest: {_near_multiples(trainer.batch_size, parts)}",
        )
        return
    local, multiple = trainer.batch_size // parts, build_cached(config.objective).batch_multiple
    if local % multiple:
        yield Fault(
            place,
            f"{config.objective.label} takes batches in multiples of {multiple}, and {trainer.batch_size} over {parts} "
            f"parts leaves {local} each; nearest: {_near_multiples(trainer.batch_size, parts * multiple)}",
        )


def _near_multiples(value: int, of: int) -> str:
    below = value // of * of
    return f"{below} or {below + of}" if below else str(of)


def _data(config: Config) -> Iterator[Fault]:
    objective, data = build_cached(config.objective), build_cached(config.data)
    if objective.needs.labels and not data.spec.num_classes:
        yield Fault(("data",), f"{config.objective.label} needs class labels; {config.data.label} has none")
    if objective.needs.condition and not (data.spec.num_classes or data.spec.context or data.spec.pooled):
        yield Fault(("data",), f"{config.objective.label} needs a condition; {config.data.label} has none")


def _backbone(config: Config) -> Iterator[Fault]:
    objective, data = build_cached(config.objective), build_cached(config.data)
    message = backbone_refusal(config.backbone, config.data, step=objective.needs.step)
    if message is not None:
        yield Fault(
            ("backbone",), f"{config.backbone.label} on {config.data.label} {tuple(data.spec.shape)}: {message}"
        )


_LAID_OUT: dict[tuple[str, str, bool], Any] = {}


def backbone_refusal(backbone: Plugin, data: Plugin, *, step: bool) -> str | None:
    """Why a backbone cannot be laid out for these data, or None where it can; asked once per combination."""
    found = _laid_out(backbone, data, step)
    return str(found) if isinstance(found, ValueError) else None


def meta_backbone(backbone: Plugin, data: Plugin, *, step: bool) -> Any:
    """The backbone on the meta device: sizes and names without memory or initialisation. To be looked at alone: who
    asks again gets the same one.

    Raises:
        ValueError: the backbone refuses its sizes.
    """
    found = _laid_out(backbone, data, step)
    if isinstance(found, ValueError):
        raise found
    return found


def _laid_out(backbone: Plugin, data: Plugin, step: bool) -> Any:
    """The backbone, or the ValueError of its refusal."""
    key = (json.dumps(backbone.plain(), sort_keys=True), json.dumps(data.plain(), sort_keys=True), step)
    if key not in _LAID_OUT:
        try:
            _LAID_OUT[key] = _lay_out(backbone, data, step)
        except ValueError as error:
            _LAID_OUT[key] = error.with_traceback(None)
    return _LAID_OUT[key]


def _lay_out(backbone: Plugin, data: Plugin, step: bool) -> Any:
    import torch
    from torch.overrides import TorchFunctionMode

    class Unfilled(TorchFunctionMode):
        """Leaves normal numbers undrawn: there is nothing to fill, and torch would load its compiler to fill it."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            given = kwargs or {}
            if func in (torch.nn.init.normal_, torch.Tensor.normal_):
                return args[0] if args else given["tensor"]
            return func(*args, **given)

    with torch.device("meta"), Unfilled():
        return backbone.build(spec=build_cached(data).spec, step=step)


def _optimizer(config: Config) -> Iterator[Fault]:
    objective = build_cached(config.objective)
    groups = getattr(build_cached(config.optimizer), "groups", None)
    if groups and backbone_refusal(config.backbone, config.data, step=objective.needs.step) is None:
        from experiments.training.parameter_groups import unmatched

        network = meta_backbone(config.backbone, config.data, step=objective.needs.step)
        names = [name for part in (network, objective) for name, _ in part.named_parameters()]
        for pattern in unmatched(groups, names):
            some = ", ".join(names[:: max(1, len(names) // 4)])
            yield Fault(
                ("optimizer", "groups"), f"{pattern!r} is the first match of no parameter of the network ({some}, …)"
            )


def _evaluation(config: Config) -> Iterator[Fault]:
    evaluation = config.evaluation
    for steps in evaluation.steps:
        message = sampling_refusal(config.objective, steps=steps)
        if message is not None:
            yield Fault(("evaluation", "steps"), message)
    for field in ("solver", "grid"):
        written = getattr(evaluation, field)
        message = None if written is None else sampling_refusal(config.objective, **{field: written})
        if message is not None:
            yield Fault(("evaluation", field), message)
    for written in evaluation.metrics:
        # Most metrics have no options and take any objective: they are not imported to ask.
        asked = "(" in written or resolve_name("metrics", written).entry.defines("check")
        message = sampling_refusal(config.objective, metric=written) if asked else None
        if message is not None:
            yield Fault(("evaluation", "metrics"), f"{written}: {message}")
    interval = evaluation.guidance_interval
    if interval is not None and interval[0] > interval[1]:
        yield Fault(("evaluation", "guidance_interval"), f"given {list(interval)}; the lowest time comes first")
    spec = build_cached(config.data).spec
    if evaluation.guidance != 1 and not (spec.num_classes or spec.context or spec.pooled):
        yield Fault(
            ("evaluation", "guidance"),
            f"given {evaluation.guidance}; guidance needs a condition, and {config.data.label} has none: 1 is allowed",
        )


@functools.cache
def _sampling_refusals(
    group: str, text: str, steps: int | None, solver: str | None, grid: str | None, metric: str | None
) -> str | None:
    objective = build_cached(resolve_plugin(group, json.loads(text)))
    try:
        if steps is not None:
            objective.time_grid(steps)
        for plugins, written in (("solvers", solver), ("time_grids", grid)):
            if written is not None:
                build_cached(resolve_plugin(plugins, written)).check(objective)
        if metric is not None:
            made = build_cached(resolve_plugin("metrics", metric))
            getattr(made, "check", lambda objective: None)(objective)
    except (ValueError, ConfigError) as error:
        return str(error)
    return None


def sampling_refusal(
    objective: Plugin,
    *,
    steps: int | None = None,
    solver: str | None = None,
    grid: str | None = None,
    metric: str | None = None,
) -> str | None:
    """Why an objective cannot be sampled so, or None where it can; asked once per combination."""
    text = json.dumps(objective.plain(), sort_keys=True)
    return _sampling_refusals(objective.group, text, steps, solver, grid, metric)


def _ema(config: Config) -> Iterator[Fault]:
    objective = build_cached(config.objective)
    kept = averages.names(config.ema)
    for name in sorted({name for name in kept if kept.count(name) > 1}):
        section = "profiles" if averages.power(name) else "decays"
        yield Fault(("ema", section), f"{name.partition('-')[2]} is given twice; each average is kept once")
    if not kept and (objective.needs.teacher == "ema" or objective.needs.average):
        yield Fault(("ema", "decays"), f"{config.objective.label} learns from an average of the weights: at least one")
    for weights in config.evaluation.weights:
        message = averages.refusal(weights, config.ema)
        if message is not None:
            yield Fault(("evaluation", "weights"), f"given {weights!r}; {message}")


def _teacher(config: Config) -> Iterator[Fault]:
    objective, label = build_cached(config.objective), config.objective.label
    taught = objective.needs.teacher in ("frozen", "phases")
    if taught and config.teacher is None:
        yield Fault(
            ("teacher",),
            f"{label} learns from a trained network, and none is named: teacher=RUN, the folder of a finished run on "
            "the same data, path and head",
        )
    if config.teacher is not None and not taught:
        yield Fault(
            ("teacher",),
            f"{label} takes no trained network as its teacher, given {config.teacher.run}; null is allowed "
            "(start=RUN begins with a run's weights)",
        )
    if config.trainer.max_steps < objective.phases:
        told = f"given {config.trainer.max_steps}; {label} trains in {objective.phases} phases of a step at least"
        yield Fault(("trainer", "max_steps"), told)


def _pairs(config: Config) -> Iterator[Fault]:
    objective, label = build_cached(config.objective), config.objective.label
    own = build_cached(config.data).pairs
    if config.pairs is None and objective.needs.pairs and not own:
        yield Fault(
            ("pairs",),
            f"{label} needs samples with their own noise, and {config.data.label} has none: pairs=RUN, the folder of a "
            "finished run on the same data, whose flow makes them",
        )
    if config.pairs is not None and (own or not objective.needs.pairs):
        told = f"{config.data.label} has its own" if own else f"{label} draws its own noise"
        yield Fault(("pairs",), f"{told}, given {config.pairs.run}; null is allowed")


def _trainer(config: Config) -> Iterator[Fault]:
    for name in config.trainer.trackers:
        try:
            resolve_plugin("trackers", name)
        except ConfigError as error:
            yield from (fault.under(("trainer", "trackers")) for fault in error.faults)
    if config.trainer.activation_stats and config.trainer.compile:
        yield Fault(
            ("trainer", "activation_stats"),
            "given true with trainer.compile=true; a compiled network's blocks are one graph that nothing looks into",
        )


def _name(config: Config) -> Iterator[Fault]:
    from experiments.config.identity import slug

    if config.name is not None and (not config.name or slug(config.name) != config.name):
        yield Fault(("name",), f"given {config.name!r}; a name holds letters, digits, '_', '.', '+' and '-' alone")


CHECKS: Mapping[Callable[[Config], Iterator[Fault]], tuple[str, ...]] = {
    _batch: ("trainer", "objective"),
    _data: ("objective", "data"),
    _backbone: ("backbone", "objective", "data"),
    _optimizer: ("optimizer", "backbone", "objective", "data"),
    _evaluation: ("evaluation", "objective", "data"),
    _ema: ("ema", "objective", "evaluation"),
    _teacher: ("objective", "teacher", "trainer"),
    _pairs: ("objective", "data", "pairs"),
    _trainer: ("trainer",),
    _name: ("name",),
}
"""Every check, and the sections that its verdict depends on: equal sections need no second look."""

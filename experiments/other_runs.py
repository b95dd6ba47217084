"""The runs that a run builds on: its teacher's, the one that it starts from, and the one whose flow makes its pairs.
Found by their hash, and looked at before anything is trained."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.config import Config, ConfigError, Fault, Plugin, Raw, RunWeights, averages
from experiments.config.checks import meta_backbone
from experiments.config.config import placed
from experiments.config.plugins import build_cached
from experiments.config.run_weights import hash_of
from experiments.config.schema import RUNS
from experiments.errors import UserError
from experiments.pairs.fitting import unfit
from experiments.runs import Run

MOST = 6  # names of parameters in a message


def find(other: RunWeights, home: Path | None = None) -> Path | None:
    """The folder of the run that is meant, None where it is not found.

    Args:
        home: the folder of the run that builds on it. It is looked for from where the command was started, then from
            ``home``, then by its hash among the runs beside that one: a folder of runs may be moved as a whole.
    """
    places = [Path(other.run)]
    if home is not None:
        places += [Path(os.path.normpath(home / other.run)), *sorted(home.parent.glob(f"*-{other.hash}"))]
    return next((place for place in places if hash_of(place) == other.hash), None)


def located(config: Config, home: Path | None = None) -> Config:
    """``config`` with the runs that are found named by absolute paths; ``home`` as of :func:`find`."""
    changed: dict[str, RunWeights] = {}
    for key in RUNS:
        other: RunWeights | None = getattr(config, key)
        folder = find(other, home) if other is not None else None
        if other is not None and folder is not None:
            changed[key] = dataclasses.replace(other, run=os.path.abspath(folder))
    return dataclasses.replace(config, **changed) if changed else config


def written_from(config: Config, home: Path) -> Config:
    """``config`` as the run in ``home`` keeps it: :func:`located`, but runs beside it are told from there."""
    config, beside = located(config, home), Path(os.path.abspath(home)).parent
    others: dict[str, RunWeights | None] = {key: getattr(config, key) for key in RUNS}
    changed = {
        key: dataclasses.replace(other, run=f"../{Path(other.run).name}")
        for key, other in others.items()
        if other is not None and Path(other.run).parent == beside
    }
    return dataclasses.replace(config, **changed) if changed else config


def refuse(config: Config, home: Path | None = None, *, written: Raw | None = None) -> None:
    """Raise a :class:`ConfigError` with all that is wrong with the runs that ``config`` builds on; return if nothing.

    Args:
        home: as of :func:`find`.
        written: where ``config`` comes from, for the faults' places.
    """
    found = [fault for key in RUNS for fault in faults(config, key, home)]
    if found:
        raise ConfigError(placed(found, written or Raw()))


def faults(config: Config, key: str, home: Path | None = None, *, finished: bool = True) -> Iterator[Fault]:
    """What is wrong with the run that ``config`` names under ``key``.

    Args:
        home: as of :func:`find`.
        finished: whether it has to be trained to its end already.
    """
    other: RunWeights | None = getattr(config, key)
    if other is None:
        return
    folder = find(other, home)
    if folder is None:
        yield Fault((key,), f"{other.run} is no run of hash {other.hash}: {_there(Path(other.run))}")
        return
    run = Run(folder)
    try:
        yield from mismatches(config, key, run.config, str(folder))
    except UserError as error:
        yield Fault((key,), f"the configuration of {folder} cannot be read here: {error}")
        return
    if finished and (run.done or {}).get("step") is None:
        status = run.status
        told = f"{folder} is not trained to its end: {status['state']}, {status['step']} steps done"
        yield Fault((key,), f"{told} (fewstep resume {folder})")
    elif finished and other.weights == "best" and not (folder / "export" / "best.safetensors").is_file():
        yield Fault((key, "weights"), f"given 'best', but {folder} has no export/best.safetensors")


def _there(folder: Path) -> str:
    if not folder.is_dir():
        return "there is no such folder"
    found = hash_of(folder)
    return "it has no config.yaml" if found is None else f"it holds the run {found}"


def mismatches(config: Config, key: str, other: Config, name: str) -> Iterator[Fault]:
    """Why ``config`` cannot build on a run of the configuration ``other``, whatever that has come to.

    Args:
        key: "teacher", "start" or "pairs".
        name: of the other run, for messages.
    """
    wanted: RunWeights = getattr(config, key)
    message = averages.refusal(wanted.weights, other.ema)
    if message is not None:
        yield Fault((key, "weights"), f"given {wanted.weights!r}, but of {name} {message}")
    own, its = build_cached(config.data).spec, build_cached(other.data).spec
    if own != its:
        names = [field.name for field in dataclasses.fields(own)]
        told = _different({name: (getattr(own, name), getattr(its, name)) for name in names})
        yield Fault((key,), f"{name} is a run on {other.data.label}, which is no {config.data.label}: {told}")
    elif key == "teacher":
        yield from _teaching(config, other, name)
    elif key == "pairs":
        yield from _pairing(config, other, name)
    else:
        lines = lacking(config, other)
        if lines:
            more = f" and {len(lines) - MOST} more" if len(lines) > MOST else ""
            told = f"{name} holds another network ({other.backbone.label}) than {config.backbone.label} as configured"
            yield Fault((key,), f"{told}: {'; '.join(lines[:MOST])}{more}")


def _different(pairs: dict[str, tuple[Any, Any]]) -> str:
    return ", ".join(f"its {name} is {its}, not {own}" for name, (own, its) in pairs.items() if own != its)


def _teaching(config: Config, other: Config, name: str) -> Iterator[Fault]:
    """Why a run's network says something else than the student asks of a teacher."""
    student, teacher = build_cached(config.objective), build_cached(other.objective)
    own, its = getattr(student, "flow", student), getattr(teacher, "flow", teacher)
    pairs = {part: (getattr(own, part, None), getattr(its, part, None)) for part in ("path", "head")}
    told = f"{name} ({other.objective.label}) cannot teach {config.objective.label}"
    if differences := _different({part: pair for part, pair in pairs.items() if None not in pair}):
        yield Fault(("teacher",), f"{told}: {differences}")
    elif teacher.solvers == ("consistency",):
        yield Fault(("teacher",), f"{told}: its network tells where the flow ends, and not its velocity")
    elif teacher.needs.step and not student.needs.step:
        yield Fault(
            ("teacher",), f"{told}: its network is told the step's length, and a teacher is told the time alone"
        )


def _pairing(config: Config, other: Config, name: str) -> Iterator[Fault]:
    """Why a run's flow makes no pairs, or none of the data that the student is measured by."""
    assert config.pairs is not None
    own, its = config.data.plain(), other.data.plain()
    if config.data.identity() != other.data.identity():
        told = _different({option: (own.get(option), its.get(option)) for option in {**own, **its}})
        yield Fault(("pairs",), f"{name} makes pairs of the data that it learned, and these are others: {told}")
    for fault in unfit(config.pairs, other):
        yield Fault(("pairs", *fault.key), f"{name}: {fault.message}")


def lacking(config: Config, other: Config) -> list[str]:
    """How the network of ``other`` differs from that of ``config`` in names and shapes, one line each.

    It may lack what is there for the length of the step alone: that begins at zero.
    """
    from experiments.training.checkpoints import mismatches as between

    step = build_cached(config.objective).needs.step
    own = _shapes(config.backbone, config.data, step=step)
    its = _shapes(other.backbone, other.data, step=build_cached(other.objective).needs.step)
    bare = _shapes(config.backbone, config.data, step=False) if step else own
    return between({name: own[name] for name in own if name in its or name in bare}, its)


_SHAPES: dict[tuple[str, str, bool], dict[str, Any]] = {}


def _shapes(backbone: Plugin, data: Plugin, *, step: bool) -> dict[str, Any]:
    """A network's parameters on the meta device; laid out once per combination."""
    place = (json.dumps(backbone.plain(), sort_keys=True), json.dumps(data.plain(), sort_keys=True), step)
    if place not in _SHAPES:
        _SHAPES[place] = meta_backbone(backbone, data, step=step).state_dict()
    return _SHAPES[place]

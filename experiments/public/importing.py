"""A run made of a public checkpoint: it samples, and training goes on from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones.pretrained import Found, Layout, LayoutError, to_ours
from datamodules.checksums import checksum
from experiments.code import version
from experiments.config import Config, averages, parse, resolve
from experiments.config.raw import lay_over
from experiments.errors import UserError
from experiments.manifest import note, write_manifest
from experiments.public import files
from experiments.public.layouts import layout_named, own, refuse
from experiments.runs import Run
from experiments.training import checkpoints

_DDPM = {"name": "flow_matching", "path": "ddpm", "head": "epsilon"}
_LDM = {"name": "ddpm", "schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
_SD3 = {"name": "flow_matching", "time": {"name": "shifted", "alpha": 3, "density": "lognorm(0,1)"}}
OBJECTIVES: Mapping[str, Any] = {
    "dit": _DDPM, "diffusers-dit": _DDPM, "uvit": {**_DDPM, "path": _LDM}, "sit": "rf", "sd3": _SD3,
    "diffusers-sd3": _SD3,
}  # fmt: skip
"""What the networks of a layout were trained with."""

_DDIM, _FLOW = {"steps": [50], "solver": "ddim"}, {"steps": [28], "grid": "shifted(3)"}
EVALUATION: Mapping[str, Any] = {
    "dit": _DDIM, "diffusers-dit": _DDIM, "uvit": _DDIM, "sit": {"steps": [50]}, "sd3": _FLOW, "diffusers-sd3": _FLOW,
}  # fmt: skip
"""How a layout's own code samples by default, or nearly so."""


@dataclass(frozen=True)
class Imported:
    """A run of others' weights, and what is to be said of it, a line each."""

    run: Run
    notices: tuple[str, ...]


def import_weights(path: Path | str, layout: str, *, overrides: Sequence[str] = (), root: Path | str) -> Imported:
    """Make a run of the weights in a file; asked for again, it is the same run.

    Its identity is its configuration, in which ``origin`` says the layout and the tensors' SHA-256. It counts as
    trained to its last step, ``trainer.max_steps`` (1 where nothing is said), and has no state of an optimiser. Where
    the file has averaged weights alone, they are the trained ones too.

    Args:
        path: as of :func:`experiments.public.files.read`.
        layout: one of ``backbones.pretrained.LAYOUTS``.
        overrides: ``key=value`` laid over the configuration: sizes that the file does not tell, other data.
        root: the folder in which the run's folder is made.

    Raises:
        UserError: a file or a layout that is none, or weights that do not fit: every tensor that is missing, has no
            place or another shape is listed.
        ConfigError: faults in the configuration.
    """
    chosen = layout_named(layout)
    held = files.read(path)
    theirs, others = own(chosen, held.tensors)
    try:
        found = chosen.read(theirs, held.config)
    except LayoutError as error:
        refuse(f"{path} is no checkpoint of {chosen.code}", error)
    _ask(found, overrides, path)
    trained = None if held.trained is None else own(chosen, held.trained)[0]
    config = _config(chosen, found, overrides, origin=_origin(chosen, theirs, trained))
    backbone = _convert(chosen, config, theirs, path)
    raw = backbone if trained is None else _convert(chosen, config, trained, path)
    facts = {"layout": chosen.name, "file": Path(path).name, "left_out": others, "guessed": found.guessed}
    run = finished_run(config, raw, backbone, root=root, facts=facts)
    told = [f"{others} tensors of other networks were left out"] if others else []
    told += [f"{name}: the file does not tell it; taken: {why}" for name, why in _open(found.guessed, overrides)]
    return Imported(run, tuple(told))


def _open(questions: Mapping[str, str], overrides: Sequence[str]) -> list[tuple[str, str]]:
    """The questions about options and sizes that no override answers."""
    given = {text.partition("=")[0] for text in overrides}
    keys = {name: {"backbone", f"backbone.{name}", "data", f"data.{name}"} for name in questions}
    return [(name, why) for name, why in questions.items() if not keys[name] & given]


def _ask(found: Found, overrides: Sequence[str], path: Path | str) -> None:
    questions = _open(found.asked, overrides)
    if questions:
        lines = "\n  ".join(f"{why}: give backbone.{name}=…" for name, why in questions)
        raise UserError(f"{path} does not tell all that is needed:\n  {lines}")


def _origin(layout: Layout, theirs: Mapping[str, Tensor], trained: Mapping[str, Tensor] | None) -> str:
    """The layout and the SHA-256 of all tensors that the run is made of."""
    beside = {f"trained/{name}": tensor for name, tensor in (trained or {}).items()}
    return f"{layout.name}:{checksum({**theirs, **beside})}"


def _config(layout: Layout, found: Found, overrides: Sequence[str], *, origin: str) -> Config:
    sizes = found.sizes()
    data = {"shape": list(sizes.shape), "num_classes": sizes.num_classes, "pooled": sizes.pooled}
    written: dict[str, Any] = {
        "objective": OBJECTIVES[layout.name],
        "backbone": {"name": layout.family, **found.options},
        "data": {"name": "synthetic", **data, "context": sizes.context and list(sizes.context)},
        "trainer": {"max_steps": 1},
        "evaluation": EVALUATION[layout.name],
        "name": layout.name,
        "origin": origin,
    }
    anew = {key for key in ("objective", "backbone", "data") if any(text.startswith(f"{key}=") for text in overrides)}
    return resolve(lay_over(parse({key: value for key, value in written.items() if key not in anew}), overrides))


def _convert(layout: Layout, config: Config, theirs: Mapping[str, Tensor], path: Path | str) -> dict[str, Tensor]:
    """The network's parameters in float32."""
    data, objective = config.data.build(), config.objective.build()
    if config.backbone.name != layout.family:
        raise UserError(f"--as {layout.name}: its network is a {layout.family}, given backbone={config.backbone.name}")
    with torch.device("meta"):
        network = config.backbone.build(spec=data.spec, step=objective.needs.step)
    try:
        ours = to_ours(layout, network, theirs)
    except LayoutError as error:
        refuse(f"{path} does not fit {config.backbone.label} on {config.data.label} as --as {layout.name}", error)
    return {name: tensor.float() for name, tensor in ours.items()}


def finished_run(
    config: Config,
    raw: Mapping[str, Tensor],
    averaged: Mapping[str, Tensor],
    *,
    root: Path | str,
    facts: Mapping[str, Any],
    objective: Mapping[str, Tensor] | None = None,
) -> Run:
    """The run of ``config``, trained to its end without a step of ours: weights as given, no state of an optimiser.

    Args:
        raw, averaged: the trained weights, and those of every average.
        facts: told in manifest.json.
        objective: its parameters, where it has some.
    """
    run, last = Run.create(config, Path(root)), config.trainer.max_steps
    if run.done is not None:
        return run
    state = {
        "step": last,
        "identity": config.hash,
        "backbone": dict(raw),
        "objective": dict(objective if objective is not None else config.objective.build().state_dict()),
        "emas": [dict(averaged) for _ in averages.names(config.ema)],
        "optimizer": {"state": {}, "param_groups": []},
        "accumulate": config.trainer.accumulate,
        "owed": [],
        "roll_backs": 0,
        "spikes": None,
    }
    write_manifest(run)
    note(run, "imported", {"origin": config.origin, **facts})
    run.fence()
    checkpoints.save(run.checkpoints, last, state, {"window": []})
    run.mark_done(step=last, evaluations=[], code=version())
    run.write_status("done", step=last, max_steps=last)
    return run

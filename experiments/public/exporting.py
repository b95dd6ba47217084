"""A run's weights written as others' code reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones.pretrained import LAYOUTS, Layout, LayoutError, to_theirs
from experiments import weights as weight_files
from experiments.errors import UserError
from experiments.evaluation.loaded import LoadedRun
from experiments.files import write_json
from experiments.public.layouts import layout_named, refuse
from experiments.runs import Run
from objectives import Objective
from objectives.heads import Epsilon, Head, Velocity
from objectives.paths import Straight

MODEL = "diffusion_pytorch_model"
"""What diffusers calls the file of weights in a model's folder."""

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

_OUTPUTS: Mapping[str, tuple[type[Head], bool]] = {
    "dit": (Epsilon, False), "diffusers-dit": (Epsilon, False), "uvit": (Epsilon, False), "sit": (Velocity, True),
    "sd3": (Velocity, True), "diffusers-sd3": (Velocity, True),
}  # fmt: skip
"""What a layout's code takes the output for, and whether on the straight path."""


def export_weights(
    run: Run,
    layout: str,
    *,
    weights: str = "ema",
    out: Path | str | None = None,
    dtype: str = "float32",
    shard: int | None = None,
    anyhow: bool = False,
) -> Path:
    """Write a run's weights in a public layout.

    Args:
        run: of a backbone of the layout's family.
        layout: one of ``backbones.pretrained.LAYOUTS``.
        weights: which: "ema", "raw" or others by name.
        out: the file, or for diffusers the folder; by default in the run's export/.
        dtype: of the tensors: float32, float16 or bfloat16.
        shard: largest size of a file in bytes; more than one file are told by an index. None: one file.
        anyhow: write it also where the layout's code would compute something else.

    Returns:
        The file, the index of its shards, or for diffusers the folder, which its ``from_pretrained`` takes.

    Raises:
        UserError: another family, a type that is none, parameters that the layout has no place for, or (unless
            ``anyhow``) a network or an objective that its code does not have, with all reasons.
    """
    chosen = layout_named(layout)
    if run.config.backbone.name != chosen.family:
        fitting = [each.name for each in LAYOUTS.values() if each.family == run.config.backbone.name]
        told = f"its layouts are {', '.join(fitting)}" if fitting else "no layout has that"
        raise UserError(
            f"--as {chosen.name} is for {chosen.family}; {run.path} holds {run.config.backbone.name}: {told}"
        )
    if dtype not in DTYPES:
        raise UserError(f"--dtype {dtype}: known are {', '.join(DTYPES)}")
    loaded = LoadedRun(run, device="cpu")
    network: Any = loaded.network(weights)
    try:
        if not anyhow and (told := _meant(chosen, loaded.objective)):
            raise LayoutError([*told, *chosen.misfits(network)])
        theirs = to_theirs(chosen, network, network.state_dict(), anyhow=anyhow)
    except LayoutError as error:
        refuse(f"{run.path} does not fit --as {chosen.name}", error)
    tensors = {f"{chosen.prefix}{name}": value.to(DTYPES[dtype]).contiguous() for name, value in theirs.items()}
    facts = {"run": run.path.name, "weights": weights, "step": str(loaded.step), "layout": chosen.name}
    config, name = chosen.config(network), f"{chosen.name}-{weights}"
    if config is None:
        target = Path(out) if out is not None else run.path / "export" / f"{name}.safetensors"
        return _write(target, tensors, facts, shard)
    folder = Path(out) if out is not None else run.path / "export" / name
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    _write(folder / f"{MODEL}.safetensors", tensors, facts, shard)
    return folder


def _meant(layout: Layout, objective: Objective) -> list[str]:
    """Why the layout's code would take the output for something else than it means."""
    flow: Any = getattr(objective, "flow", objective)
    head, straight = _OUTPUTS[layout.name]
    if isinstance(getattr(flow, "head", None), head) and isinstance(flow.path, Straight) == straight:
        return []
    taken = "the velocity of the straight path" if straight else "the noise of a variance-preserving path"
    return [f"the output means what {objective.notation} says; {layout.code} takes it for {taken}"]


def _write(target: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str], shard: int | None) -> Path:
    parts = _parts(tensors, shard)
    if len(parts) == 1:
        weight_files.write(target, tensors, facts)
        return target
    names = [f"{target.stem}-{i + 1:05d}-of-{len(parts):05d}{target.suffix}" for i in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        weight_files.write(target.with_name(name), part, facts)
    size = sum(tensor.nbytes for tensor in tensors.values())
    places = {tensor: name for name, part in zip(names, parts, strict=True) for tensor in part}
    index = target.with_name(f"{target.name}.index.json")
    write_json(index, {"metadata": {"total_size": size}, "weight_map": places})
    return index


def _parts(tensors: Mapping[str, Tensor], largest: int | None) -> list[dict[str, Tensor]]:
    """The tensors in their order, in parts of at most so many bytes; a larger tensor is a part of its own."""
    parts: list[dict[str, Tensor]] = [{}]
    room = largest
    for name, tensor in tensors.items():
        if largest is not None and room is not None:
            if parts[-1] and tensor.nbytes > room:
                parts.append({})
                room = largest
            room -= tensor.nbytes
        parts[-1][name] = tensor
    return parts

"""Reading files of weights that others wrote: safetensors, one or sharded, and pickles of tensors alone."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from experiments.errors import UserError

PICKLES = (".pt", ".pth", ".bin", ".ckpt")
INDEX = ".safetensors.index.json"
TRANSFORMER = "transformer"
"""The folder of the network in a pipeline of diffusers."""

_STATES = ("model", "ema", "state_dict", "model_state_dict", "nnet", "nnet_ema")
"""Where public training scripts keep weights in what they save; "ema" is told apart, the others are the same."""


@dataclass(frozen=True)
class Weights:
    """What a file holds.

    Attributes:
        tensors: the weights to use: averaged ones where the file has them.
        trained: the weights that were trained, where the file has both.
        config: what config.json says that lies beside it, else {}.
        ignored: number of tensors left out because they belong to other networks.
    """

    tensors: dict[str, Tensor]
    trained: dict[str, Tensor] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    ignored: int = 0


def read(path: Path | str) -> Weights:
    """The weights in a safetensors file, an index of shards, a pickle of tensors, or a folder that holds one of them.

    A pickle is read by torch's own reader for tensors, which calls nothing that the file names.

    Raises:
        UserError: there is none, several, or it cannot be read; a pickle that names more than tensors.
    """
    file = _file(Path(path))
    config = _config(file.parent / "config.json")
    if file.name.endswith(INDEX):
        return Weights(_shards(file), config=config)
    if file.suffix == ".safetensors":
        return Weights(read_safetensors(file), config=config)
    weights, trained = _of_pickle(_pickle(file), file)
    return Weights(weights, trained, config)


def _file(path: Path) -> Path:
    if path.is_file():
        known = path.suffix in (".safetensors", *PICKLES) or path.name.endswith(INDEX)
        if not known:
            told = ", ".join((".safetensors", f"NAME{INDEX}", *PICKLES))
            raise UserError(f"{path} is no file of weights that is known; known: {told}, or a folder with one of them.")
        return path
    if not path.is_dir():
        beside = sorted(entry.name for entry in path.parent.glob("*"))[:8] if path.parent.is_dir() else []
        raise UserError(f"there is no file {path}" + (f"; beside it: {', '.join(beside)}" if beside else ""))
    for pattern in (f"*{INDEX}", "*.safetensors", *(f"*{suffix}" for suffix in PICKLES)):
        found = sorted(path.glob(pattern))
        if len(found) > 1:
            raise UserError(f"{path} holds {', '.join(entry.name for entry in found)}; name the one that is meant.")
        if found:
            return found[0]
    if (path / TRANSFORMER).is_dir():
        return _file(path / TRANSFORMER)
    raise UserError(f"{path} holds no weights: no .safetensors, {INDEX} or {', '.join(PICKLES)} file.")


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """The tensors in one file of safetensors, on the CPU; a :class:`UserError` where it is none."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file} cannot be read as safetensors: {error}") from error


def _shards(index: Path) -> dict[str, Tensor]:
    told = _json(index).get("weight_map")
    if not isinstance(told, Mapping) or not all(isinstance(name, str) for name in told.values()):
        raise UserError(f"{index} is no index of shards: it has no weight_map of tensor names to files.")
    outside = sorted({name for name in told.values() if Path(name).name != name})
    if outside:
        raise UserError(f"{index} names files outside of its folder: {', '.join(outside)}")
    files = sorted(set(told.values()))
    absent = [name for name in files if not (index.parent / name).is_file()]
    if absent:
        raise UserError(f"{index} names shards that are not there: {', '.join(absent)}")
    held = {name: read_safetensors(index.parent / name) for name in files}
    lacking = [f"{tensor} in {name}" for tensor, name in told.items() if tensor not in held[name]]
    if lacking:
        raise UserError(f"{index} names tensors that are not there: {', '.join(lacking)}")
    return {tensor: held[name][tensor] for tensor, name in told.items()}


def _pickle(file: Path) -> Any:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # DiT's training script saves its options so
            return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise UserError(
            f"{file} is not read: its pickle names more than tensors, and reading it would run what it names "
            f"({str(error).splitlines()[0]}). Ask for a .safetensors file."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{file} cannot be read: {type(error).__name__}: {error}") from error


def _of_pickle(loaded: Any, file: Path) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
    """The weights in what a pickle holds, and the trained ones where averaged ones are beside them."""
    whole = _state(loaded)
    if whole is not None:
        return whole, None
    states = {name: _state(loaded[name]) for name in _STATES if isinstance(loaded, Mapping) and name in loaded}
    averaged = next((state for name, state in states.items() if state and "ema" in name), None)
    trained = next((state for name, state in states.items() if state and "ema" not in name), None)
    if averaged is None and trained is None:
        there = f"the keys {', '.join(map(str, loaded))}" if isinstance(loaded, Mapping) else type(loaded).__name__
        raise UserError(f"{file} holds {there}; expected tensors by name, or such under one of {', '.join(_STATES)}.")
    return (averaged, trained) if averaged is not None else (trained or {}, None)


def _state(value: Any) -> dict[str, Tensor] | None:
    """The value as a state dict; None if it is none. What wraps a network for training is taken off its names."""
    if not isinstance(value, Mapping) or not value or not all(isinstance(item, Tensor) for item in value.values()):
        return None
    names = [str(name) for name in value]
    start = next((s for s in ("module.", "_orig_mod.") if all(name.startswith(s) for name in names)), "")
    return {name.removeprefix(start): tensor for name, tensor in zip(names, value.values(), strict=True)}


def _config(file: Path) -> Mapping[str, Any]:
    return _json(file) if file.is_file() else {}


def _json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{file} holds no JSON object.")
    return value

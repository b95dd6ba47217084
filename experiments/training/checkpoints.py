"""Checkpoints as folders of safetensors beside a JSON index: atomic, verified, and never a pickle.

``checkpoints/step-000000200/`` holds ``index.json`` and ``tensors.safetensors``. The index keeps the state's tree,
with the names of tensors in their places, and the SHA-256 of the tensor file. A checkpoint is written under another
name, synced and renamed, so a folder of the right name is whole; what a disk or a hand has damaged since then is found
by the checksum before anything is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FORMAT = 1
_FOLDER = re.compile(r"step-(\d+)")


class DamagedCheckpoint(Exception):
    """A checkpoint that must not be used, and why."""


@dataclass
class Found:
    """The newest checkpoint that is whole, and what was passed over on the way to it."""

    path: Path | None = None
    state: dict[str, Any] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


def folder(root: Path, step: int) -> Path:
    return root / f"step-{step:09d}"


def steps(root: Path) -> list[int]:
    """The steps of the checkpoints under ``root``, the newest first."""
    names = [_FOLDER.fullmatch(entry.name) for entry in root.iterdir()] if root.is_dir() else []
    return sorted((int(name[1]) for name in names if name), reverse=True)


def save(root: Path, step: int, state: Mapping[str, Any]) -> Path:
    """Write ``state`` (nested dicts, lists, numbers, strings, tensors) as the checkpoint of ``step``.

    Raises OSError where the disk is full; earlier checkpoints are untouched then.
    """
    from safetensors.torch import save_file

    final = folder(root, step)
    aside = root / f".{final.name}.{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        tensors: dict[str, Tensor] = {}
        tree = _flatten(state, "", tensors)
        file = aside / "tensors.safetensors"
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, file)
        _sync(file)
        index = {"format": FORMAT, "step": step, "files": {file.name: _sha256(file)}, "state": tree}
        with open(aside / "index.json", "w") as text:
            json.dump(index, text)
            text.flush()
            os.fsync(text.fileno())
        _sync(aside)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(aside, final)
        _sync(root)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return final


def load(path: Path) -> dict[str, Any]:
    """The state in a checkpoint, on the CPU; :class:`DamagedCheckpoint` where it is not whole."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        index = json.loads((path / "index.json").read_text())
        if index["format"] != FORMAT:
            raise DamagedCheckpoint(f"its format is {index['format']!r}; this version of fewstep reads {FORMAT}")
        tensors: dict[str, Tensor] = {}
        for name, digest in index["files"].items():
            if _sha256(path / name) != digest:
                raise DamagedCheckpoint(f"{name} does not have the checksum that index.json states")
            tensors |= load_file(path / name)
        state = _restore(index["state"], tensors)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise DamagedCheckpoint(f"{type(error).__name__}: {error}") from error
    assert isinstance(state, dict)
    return state


def newest(root: Path) -> Found:
    """The newest whole checkpoint under ``root``; damaged ones are passed over with a notice that says so."""
    found = Found()
    for step in steps(root):
        path = folder(root, step)
        try:
            found.state = load(path)
        except DamagedCheckpoint as damage:
            found.notices.append(f"Checkpoint {path} is damaged ({damage}) and was not used.")
        else:
            found.path = path
            break
    if found.notices:
        found.notices.append(f"Going on from {found.path}." if found.path else "No whole checkpoint is left.")
    return found


def prune(root: Path, keep: int) -> None:
    """Remove all but the newest ``keep`` checkpoints, and what an interrupted save left behind."""
    for step in steps(root)[keep:]:
        shutil.rmtree(folder(root, step), ignore_errors=True)
    for left in root.glob(".step-*"):
        shutil.rmtree(left, ignore_errors=True)


def mismatches(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """How two state dicts differ in names and shapes, one line each; none where they agree."""
    lines = [f"{name} is missing" for name in wanted if name not in given]
    lines += [f"{name} is not part of the network" for name in given if name not in wanted]
    lines += [
        f"{name} is {tuple(given[name].shape)}, the network's is {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    return lines


def _flatten(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Plain JSON for ``value``; tensors go to ``tensors`` under their path. Dicts become pairs: keys may be numbers."""
    if isinstance(value, Tensor):
        tensors[path] = value
        return {"tensor": path}
    if isinstance(value, Mapping):
        return {
            "dict": [
                [key, _flatten(item, f"{path}/{key}" if path else str(key), tensors)] for key, item in value.items()
            ]
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        return {"list": [_flatten(item, f"{path}/{i}", tensors) for i, item in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"{path} is a {type(value).__name__}: a checkpoint holds numbers, strings, tensors, dicts and lists"
    )


def _restore(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(tree, dict):
        return tree
    ((kind, value),) = tree.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "dict":
        return {key: _restore(item, tensors) for key, item in value}
    return [_restore(item, tensors) for item in value]


def _sha256(file: Path) -> str:
    with open(file, "rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether every element of every tensor is finite; one device sync for all of them."""
    largest = torch._foreach_norm(list(tensors), float("inf"))  # pyright: ignore[reportPrivateImportUsage]
    return bool(torch.isfinite(torch.stack(largest)).all())

"""Checkpoints as folders of safetensors beside a JSON index: atomic, verified, and never a pickle.

``checkpoints/step-000000200/`` holds ``index.json`` and ``tensors-R.safetensors`` of every rank R that has tensors of
its own. The index keeps the state's tree with the names of tensors in their places, the SHA-256 of every tensor file,
and of a tensor that is divided among the ranks its whole shape and where each piece begins. A checkpoint is written
under another name, synced and renamed, so a folder of the right name is whole; what a disk or a hand has damaged since
then is found by the checksum before anything is used.

Each rank writes its part (:func:`write_part`) without waiting for another; rank 0 waits until all parts are there and
gives the folder its name (:func:`publish`). That needs no collective, so that it can be done beside the training.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments import chaos
from experiments.files import read_json, write_json
from experiments.training.pieces import Pieces
from experiments.training.state import Flat, restore, write_tensors

FORMAT = 2
READABLE = (1, 2)  # 1 had one file and no ranks
PARTS = 600.0  # seconds that rank 0 waits for the parts of the others
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


def aside(root: Path, step: int, token: str) -> Path:
    """Where the parts of a checkpoint are gathered; ``token`` is that of this attempt at the run, on all ranks."""
    return root / f".step-{step:09d}.{token}"


def save(root: Path, step: int, state: Mapping[str, Any], ranked: Mapping[str, Any] | None = None) -> Path:
    """Write ``state`` (nested dicts, lists, numbers, strings, tensors) as the checkpoint of ``step``, from one process.

    Raises OSError where the disk is full; earlier checkpoints are untouched then.
    """
    gathering = aside(root, step, str(os.getpid()))
    shutil.rmtree(gathering, ignore_errors=True)
    try:
        write_part(gathering, 0, Flat.of(state), Flat.of(ranked or {}, "rank-0"))
        return publish(gathering, folder(root, step), step, 1)
    except BaseException:
        shutil.rmtree(gathering, ignore_errors=True)
        raise


def write_part(gathering: Path, rank: int, state: Flat, ranked: Flat) -> None:
    """Write what rank ``rank`` adds to a checkpoint: rank 0 the common state, each its pieces and its ``ranked`` state.

    The tensors must be on the CPU.
    """
    gathering.mkdir(parents=True, exist_ok=True)
    tensors = state.tensors if rank == 0 else {name: state.tensors[name] for name in state.sharded}
    tensors = {**tensors, **ranked.tensors}
    name = f"tensors-{rank}.safetensors"
    part: dict[str, Any] = {"ranked": ranked.tree, "sharded": state.sharded, "files": {}}
    if tensors or rank == 0:
        part["files"][name] = write_tensors(gathering / name, tensors)
    if rank == 0:
        part["state"] = state.tree
    write_json(gathering / f"part-{rank}.json", part)


def publish(gathering: Path, final: Path, step: int, ranks: int, before: Callable[[], None] = lambda: None) -> Path:
    """Wait for the parts of all ranks, write the index, call ``before`` and give the checkpoint its name."""
    parts = [_part(gathering / f"part-{rank}.json") for rank in range(ranks)]
    index: dict[str, Any] = {"format": FORMAT, "step": step, "files": {}, "sharded": {}, "state": parts[0]["state"]}
    index["ranks"] = [part["ranked"] for part in parts]
    for part in parts:
        index["files"] |= part["files"]
        for tensor, (shape, start) in part["sharded"].items():
            (file,) = part["files"]
            index["sharded"].setdefault(tensor, {"shape": shape, "starts": {}})["starts"][file] = start
    with open(gathering / "index.json", "w") as text:
        json.dump(index, text)
        text.flush()
        os.fsync(text.fileno())
    for rank in range(ranks):
        (gathering / f"part-{rank}.json").unlink()
    _sync(gathering)
    before()
    chaos.reach("written")
    shutil.rmtree(final, ignore_errors=True)
    os.replace(gathering, final)
    _sync(final.parent)
    chaos.reach("renamed")
    return final


def _part(file: Path) -> dict[str, Any]:
    """The part of one rank, once it is there."""
    deadline = time.monotonic() + PARTS
    while (part := read_json(file)) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{file} was not written by its rank within {PARTS:.0f} s")
        time.sleep(0.02)
    return part


def load(path: Path, *, whole: bool = True) -> dict[str, Any]:
    """The state in a checkpoint, on the CPU; ``ranks`` is what each rank added.

    Divided tensors are put together, or, with ``whole`` false, left as :class:`Pieces` of files that nothing is read of
    yet but for the checksums.

    Raises:
        DamagedCheckpoint: it is not whole.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        index = json.loads((path / "index.json").read_text())
        if index["format"] not in READABLE:
            raise DamagedCheckpoint(f"its format is {index['format']!r}; this version of fewstep reads {FORMAT}")
        files: dict[str, dict[str, Tensor]] = {}
        for name, digest in index["files"].items():
            if _sha256(path / name) != digest:
                raise DamagedCheckpoint(f"{name} does not have the checksum that index.json states")
            files[name] = load_file(path / name)
        tensors = {name: tensor for file in files.values() for name, tensor in file.items()}
        divided: dict[str, Any] = {}
        for name, each in index.get("sharded", {}).items():
            pieces = Pieces(name, each["shape"], [(start, files[file][name]) for file, start in each["starts"].items()])
            divided[name] = pieces.whole() if whole else pieces
        tensors = {**tensors, **divided}
        state = restore(index["state"], tensors)
        state["ranks"] = [restore(tree, tensors) for tree in index.get("ranks", [])] or [{"window": state["window"]}]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise DamagedCheckpoint(f"{type(error).__name__}: {error}") from error
    return state


def newest(root: Path, *, whole: bool = True) -> Found:
    """The newest whole checkpoint under ``root``; damaged ones are passed over with a notice that says so.

    ``whole`` as of :func:`load`.
    """
    found = Found()
    for step in steps(root):
        path = folder(root, step)
        try:
            found.state = load(path, whole=whole)
        except DamagedCheckpoint as damage:
            found.notices.append(f"Checkpoint {path} is damaged ({damage}) and was not used.")
        else:
            found.path = path
            break
    if found.notices:
        found.notices.append(f"Going on from {found.path}." if found.path else "No whole checkpoint is left.")
    return found


def prune(root: Path, keep: int, every: int | None = None) -> None:
    """Remove all but the newest ``keep`` checkpoints and those of every ``every``-th step."""
    for step in steps(root)[keep:]:
        if every is None or step % every:
            shutil.rmtree(folder(root, step), ignore_errors=True)


def sweep(root: Path) -> None:
    """Remove what interrupted saves left behind. No save may be under way."""
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
    """Whether every element of every tensor of this process is finite; one device sync for all of them."""
    largest = torch._foreach_norm(list(tensors), float("inf"))  # pyright: ignore[reportPrivateImportUsage]
    return bool(torch.isfinite(torch.stack(largest)).all())

"""A training state (nested dicts, lists, numbers, strings, tensors) as a JSON tree and a file of tensors, and back."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.training.sharding import piece_of

_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


@dataclass
class Flat:
    """A state taken apart: a JSON tree with the names of tensors in their places, and the tensors of this process.

    ``sharded`` holds, for a tensor of which this process has a piece alone, the whole one's shape and the row at which
    the piece begins.
    """

    tree: Any = None
    tensors: dict[str, Tensor] = field(default_factory=dict)
    sharded: dict[str, tuple[list[int], int]] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any, path: str = "") -> Flat:
        """Take ``value`` apart; TypeError for anything that is no plain data."""
        flat = cls()
        flat.tree = flat._take(value, path)
        return flat

    def _take(self, value: Any, path: str) -> Any:
        """Plain JSON; tensors are kept under their path. Dicts become pairs: their keys may be numbers."""
        if isinstance(value, Tensor):
            piece = piece_of(value)
            if piece is None:
                self.tensors[path] = value.detach()
            else:
                local, start = piece
                self.tensors[path], self.sharded[path] = local, (list(value.shape), start)
            return {"tensor": path}
        if isinstance(value, Mapping):
            return {
                "dict": [[key, self._take(item, f"{path}/{key}" if path else str(key))] for key, item in value.items()]
            }
        if isinstance(value, Sequence) and not isinstance(value, str):
            return {"list": [self._take(item, f"{path}/{i}") for i, item in enumerate(value)]}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(
            f"{path} is a {type(value).__name__}: a checkpoint holds numbers, strings, tensors, dicts and lists"
        )


def restore(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The state that was taken apart into ``tree`` and ``tensors``."""
    if not isinstance(tree, dict):
        return tree
    ((kind, value),) = tree.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "dict":
        return {key: restore(item, tensors) for key, item in value}
    return [restore(item, tensors) for item in value]


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write CPU tensors as safetensors, synced to disk; the SHA-256 of what was meant to be written.

    Tensor after tensor goes from its own memory to the file and into the digest: the library's writer holds a second
    copy of everything, and the interpreter with it, which training in another thread would feel.
    """
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))  # so that all are aligned
    header, end = {}, 0
    for name, tensor in ordered:
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with open(file, "wb") as out:
        for data in (len(text).to_bytes(8, "little"), text, *(_memory(tensor) for _, tensor in ordered)):
            digest.update(data)
            out.write(data)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def _memory(tensor: Tensor) -> memoryview:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data

"""A pair set: samples in a folder, each with the noise that a trained model made it from.

::

    DIR/
      recipe.json               what the pairs are made of and how; written first
      pairs-00000.safetensors   x (n, …), noise (n, …) and condition.NAME (n, …) of the first n pairs
      pairs-00001.safetensors   of the next n, and so on; the last may have fewer
      index.json                written last: the recipe and the checksum of each shard

What a set is, is its index: nothing in it depends on where, when or by how many processes it was made.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.base import Batch, DataError, Rows
from datamodules.checksums import checksum
from datamodules.spec import DataSpec

FORMAT = 1
RECIPE, INDEX = "recipe.json", "index.json"
CONDITION = "condition."


def shard_file(folder: Path, number: int) -> Path:
    """Where the pairs number·shard … are."""
    return folder / f"pairs-{number:05d}.safetensors"


class PairSet:
    """A finished pair set, read from its index; shards are opened when they are asked for, and memory-mapped.

    Raises:
        ValueError: the index is of another format, or is no index.
    """

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        if index.get("format") != FORMAT:
            raise ValueError(f"{folder / INDEX} is of format {index.get('format')!r}; this version reads {FORMAT}")
        self.folder, self.index = folder, index
        self.recipe: dict[str, Any] = index["recipe"]
        self.shards: list[str] = index["shards"]
        self._opened: dict[int, dict[str, Tensor]] = {}

    @classmethod
    def find(cls, folder: Path) -> PairSet | None:
        """The set in a folder, None where there is no finished one.

        Raises:
            ValueError: the index cannot be read.
        """
        try:
            return cls(folder, json.loads((folder / INDEX).read_text()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise ValueError(f"{folder / INDEX} is no index of a pair set: {error}") from error

    @cached_property
    def digest(self) -> str:
        """16 hex digits of the SHA-256 of the index: what tells two pair sets apart."""
        text = json.dumps(self.index, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def spec(self) -> DataSpec:
        """Shape and conditions of the samples."""
        written = self.recipe["spec"].items()
        given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in written}
        return DataSpec(**given)

    def __len__(self) -> int:
        return self.recipe["num"]

    def check(self) -> None:
        """Look whether every shard is there, of the size and with the checksum that its header and the index state.

        Cheap: the tensors are not read. Raises :class:`DataError` with the name of the first shard that is not.
        """
        for number in range(len(self.shards)):
            self._open(number)

    def tensors(self, number: int) -> dict[str, Tensor]:
        """One shard's tensors, memory-mapped; compared with their checksum when the shard is first asked for.

        Raises:
            DataError: they are not what was written.
        """
        if number not in self._opened:
            tensors = self._open(number)
            if checksum(tensors) != self.shards[number]:
                raise self._damaged(number, "its tensors do not have the checksum that the index states")
            self._opened[number] = tensors
        return self._opened[number]

    def _open(self, number: int) -> dict[str, Tensor]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(shard_file(self.folder, number), "pt") as opened:
                stated = (opened.metadata() or {}).get("sha256")
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (it is no mapping)
        except (OSError, SafetensorError) as error:
            raise self._damaged(number, str(error)) from error
        if stated != self.shards[number]:
            raise self._damaged(number, "its header does not state the checksum that the index does")
        return tensors

    def _damaged(self, number: int, why: str) -> DataError:
        return DataError(
            f"{shard_file(self.folder, number)} is damaged: {why}. Remove it: this shard is made again when a "
            "training begins that needs it, or by the `fewstep pairs` command that made the set."
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": {}}  # a loader's worker maps the files for itself


class PairRows(Rows):
    """The pairs as training rows, read from their files batch by batch.

    `rows[LongTensor (B,)]` is {"x": (B, …), "noise": (B, …), "index": (B,)} and, where there are conditions,
    "condition": {name: (B, …)}.
    """

    def __init__(self, pairs: PairSet) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, rows: Tensor) -> Batch:
        found = self._gather(rows)
        named = [name for name in found if name.startswith(CONDITION)]
        condition = {name.removeprefix(CONDITION): found[name] for name in named}
        batch: Batch = {"x": found["x"], "noise": found["noise"], "index": rows}
        return {**batch, "condition": condition} if condition else batch

    def _gather(self, rows: Tensor) -> dict[str, Tensor]:
        size = self.pairs.recipe["shard"]
        shard, place = torch.div(rows, size, rounding_mode="floor"), rows % size
        order = torch.argsort(shard, stable=True)
        numbers, counts = torch.unique_consecutive(shard[order], return_counts=True)
        parts: dict[str, list[Tensor]] = {}
        for number, chosen in zip(numbers.tolist(), order.split(counts.tolist()), strict=True):
            for name, tensor in self.pairs.tensors(number).items():
                parts.setdefault(name, []).append(tensor[place[chosen]])
        back = torch.argsort(order)
        return {name: torch.cat(found)[back] for name, found in parts.items()}

    @property
    def x(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """All samples, (N, …): reads the whole set."""
        return self._gather(torch.arange(len(self)))["x"]

    @property
    def label(self) -> Tensor | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """All labels, (N,), or None: reads the whole set."""
        return self._gather(torch.arange(len(self))).get(f"{CONDITION}label")

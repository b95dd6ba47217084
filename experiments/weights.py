"""One network's weights in a file: safetensors, written atomically, with where they come from and a checksum."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from datamodules.checksums import checksum
from experiments import chaos


class DamagedWeights(Exception):
    """A file of weights that must not be used, and why."""


def write(file: Path, weights: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Write CPU tensors with ``facts`` in the header, so that ``file`` is whole or absent whatever interrupts us.

    Raises OSError where the disk is full.
    """
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        save_file(dict(weights), aside, metadata={"format": "pt", **facts, "sha256": checksum(weights)})
        with open(aside, "rb+") as written:
            os.fsync(written.fileno())
        chaos.reach("weights")
        os.replace(aside, file)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def sweep(folder: Path) -> None:
    """Remove what interrupted writes into ``folder`` left behind. No write may be under way."""
    for left in folder.glob(".*.safetensors.*"):
        left.unlink(missing_ok=True)


def facts(file: Path) -> dict[str, str]:
    """What the header says, without reading the tensors; {} where there is no such file or no header."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            return opened.metadata() or {}
    except (OSError, SafetensorError):
        return {}


def read(file: Path) -> dict[str, Tensor]:
    """The tensors, on the CPU.

    Raises:
        DamagedWeights: they are not what was written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(file)
    except (OSError, SafetensorError) as error:
        raise DamagedWeights(f"{file}: {error}") from error
    if facts(file).get("sha256") != checksum(weights):
        raise DamagedWeights(f"{file}: its tensors do not have the checksum that its header states")
    return weights

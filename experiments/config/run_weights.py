"""Another run that a configuration builds on: its folder, which of its weights, and its hash. Imports no torch.

The hash says which run it is, and with the weights is all that enters the identity; the folder says where to look for
it. A folder's name ends in its run's hash, so that nothing need be there to tell who a configuration is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from experiments.config import averages
from experiments.config.faults import Fault, Key, Refused, unknown
from experiments.config.marks import Pattern
from experiments.config.values import conform, describe, show

Weights = Annotated[str, Pattern(averages.PATTERN, averages.TOLD)]
KEYS = ("run", "weights", "hash")
EXPECTED = "the folder of a run, or a mapping with run and weights, or null"
_NAME = re.compile(r"(?:.*-)?([0-9a-f]{12})")


@dataclass(frozen=True)
class RunWeights:
    """Weights of another run.

    Attributes:
        run: its folder, from where the command is started or from the folder of the run that names it.
        weights: "ema", "raw", or others by name.
        hash: the 12 hex digits in which its folder's name ends when it is made.
    """

    run: str
    weights: str
    hash: str

    def plain(self) -> dict[str, str]:
        """The mapping that a configuration file holds."""
        return {"run": self.run, "weights": self.weights, "hash": self.hash}

    def identity(self) -> dict[str, str]:
        """What tells two runs apart that build on it."""
        return {"run": self.hash, "weights": self.weights}


def read_run_weights(written: Any, key: Key, faults: list[Fault]) -> RunWeights | None:
    """What a configuration writes: null, a folder, or a mapping; faults are added to ``faults``.

    A text that is laid over a mapping becomes its ``name``, as it does for a plugin: that is the folder then. Where a
    plan says which run it is, ``stage`` only says what it was called.
    """
    if written is None:
        return None
    if isinstance(written, str):
        written = {"run": written}
    if not isinstance(written, Mapping):
        faults.append(Fault(key, f"given {show(written)}; expected {EXPECTED}"))
        return None
    given = dict(written)
    if "name" in given:
        given = {"run": given.pop("name")} | {name: value for name, value in given.items() if name != "run"}
    if given.get("stage") is not None and "hash" not in given:
        faults.append(Fault((*key, "stage"), "a stage is one of the `grids` of a grid file; elsewhere a run is named"))
        return None
    given.pop("stage", None)
    before = len(faults)
    faults += [Fault((*key, name), unknown("key", name, KEYS)) for name in given if name not in KEYS]
    run = _text(given, "run", key, faults)
    weights = _weights(given.get("weights", "ema"), (*key, "weights"), faults)
    if len(faults) > before or run is None or weights is None:
        return None
    hash = _hash(run, given.get("hash"), key, faults)
    return None if hash is None else RunWeights(run, averages.canonical(weights), hash)


def _text(given: Mapping[str, Any], name: str, key: Key, faults: list[Fault]) -> str | None:
    value = given.get(name)
    if isinstance(value, str) and value:
        return value
    faults.append(Fault((*key, name) if name in given else key, f"given {show(value)}; expected {EXPECTED}"))
    return None


def _weights(value: Any, key: Key, faults: list[Fault]) -> str | None:
    def no_plugin(*_: Any) -> Any:
        raise AssertionError(describe(Weights))

    try:
        return conform(value, Weights, key, faults, no_plugin)
    except Refused:
        return None


def _hash(run: str, given: Any, key: Key, faults: list[Fault]) -> str | None:
    """The hash that is given, or else the folder's."""
    told = hash_in(Path(run))
    if given is None:
        found = told or hash_of(Path(run))
        if found is None:
            faults.append(Fault(key, f"there is no run in {run}, and its name ends in no run's hash"))
        return found
    if not isinstance(given, str) or not re.fullmatch("[0-9a-f]{12}", given):
        faults.append(Fault((*key, "hash"), f"given {show(given)}; expected 12 hex digits, or nothing: {run} has them"))
        return None
    if told not in (None, given):
        faults.append(Fault((*key, "hash"), f"given {given}, but the name of {run} ends in {told}; leave the hash out"))
        return None
    return given


def hash_in(folder: Path) -> str | None:
    """The hash in which a folder's name ends."""
    found = _NAME.fullmatch(folder.name)
    return found[1] if found else None


def hash_of(folder: Path) -> str | None:
    """The hash of the run in a folder: its name's, or that of its configuration where it was renamed; None without."""
    if not (folder / "config.yaml").is_file():
        return None
    if (told := hash_in(folder)) is not None:
        return told
    from experiments.config.config import load
    from experiments.config.identity import child_digest

    config = load(folder / "config.yaml")
    parent = folder / "parent.json"
    return child_digest(config.identity(), json.loads(parent.read_text())) if parent.is_file() else config.hash

"""Another run that a configuration builds on: its folder, which of its weights, and its hash. Imports no torch.

The hash says which run it is, and with the weights is all that enters the identity, but for what is made of them
(:class:`RunPairs`); the folder says where to look for it. A folder's name ends in its run's hash, so that nothing need
be there to tell who a configuration is.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from experiments.config import averages
from experiments.config.faults import Fault, Key, Refused, unknown
from experiments.config.marks import Pattern, Plugins, Range
from experiments.config.values import conform, hints, show

Weights = Annotated[str, Pattern(averages.PATTERN, averages.TOLD)]
Count = Annotated[int, Range(at_least=1)]
Seed = Annotated[int, Range(at_least=0, at_most=2**63 - 1)]
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
    weights: Weights
    hash: str

    def plain(self) -> dict[str, Any]:
        """The mapping that a configuration file holds."""
        return dataclasses.asdict(self)

    def identity(self) -> dict[str, Any]:
        """What tells two runs apart that build on it."""
        return {"run": self.hash, "weights": self.weights}


@dataclass(frozen=True)
class RunPairs(RunWeights):
    """Pairs of noise and the samples that another run's weights make of it.

    Attributes:
        num: pairs.
        steps: solver steps.
        solver: a deterministic one; null takes the objective's own.
        guidance: w of classifier-free guidance; 1 is none.
        seed: of noise and conditions.
        shard: pairs that are drawn at once, and lie in one file; no part of the identity.
    """

    num: Count = 50_000
    steps: Count = 128
    solver: Annotated[str, Plugins("solvers")] | None = None
    guidance: Annotated[float, Range(at_least=0)] = 1.0
    seed: Seed = 0
    shard: Count = 1024

    def identity(self) -> dict[str, Any]:
        made = {name: getattr(self, name) for name in ("num", "steps", "solver", "guidance", "seed")}
        return {**super().identity(), **made}


R = TypeVar("R", bound=RunWeights)


def read_run_weights(written: Any, key: Key, faults: list[Fault], kind: type[R]) -> R | None:
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
    before, fields = len(faults), [field.name for field in dataclasses.fields(kind)]
    faults += [Fault((*key, name), unknown("key", name, fields)) for name in given if name not in fields]
    run = _text(given, "run", key, faults)
    options = {"weights": "ema", **{name: given[name] for name in fields if name in given}}
    found = {name: _option(kind, name, options[name], key, faults) for name in options if name not in ("run", "hash")}
    if len(faults) > before or run is None:
        return None
    hash = _hash(run, given.get("hash"), key, faults)
    found["weights"] = averages.canonical(found["weights"])
    return None if hash is None else kind(run=run, hash=hash, **found)


def _text(given: Mapping[str, Any], name: str, key: Key, faults: list[Fault]) -> str | None:
    value = given.get(name)
    if isinstance(value, str) and value:
        return value
    faults.append(Fault((*key, name) if name in given else key, f"given {show(value)}; expected {EXPECTED}"))
    return None


def _option(kind: type[RunWeights], name: str, value: Any, key: Key, faults: list[Fault]) -> Any:
    def no_plugin(*_: Any) -> Any:
        raise AssertionError(name)

    try:
        return conform(value, hints(kind)[name], (*key, name), faults, no_plugin)
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

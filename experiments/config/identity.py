"""What makes two configurations the same run: canonical JSON, its hash, and a name that a file system takes."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from experiments.config.marks import Identity
from experiments.config.plugins import Plugin, identity
from experiments.config.run_weights import RunWeights
from experiments.config.values import hints

DIGITS = 12


def canonical(value: Any) -> str:
    """JSON that equal values share: keys sorted, no spaces, no NaN; Python writes a float by its shortest digits."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """First 12 hex digits of the SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:DIGITS]


def digest_of(texts: Mapping[str, str]) -> str:
    """The digest of a mapping from plain names to values that are canonical JSON already."""
    whole = ",".join(f'"{key}":{texts[key]}' for key in sorted(texts))
    return hashlib.sha256(f"{{{whole}}}".encode()).hexdigest()[:DIGITS]


def child_digest(identity: Mapping[str, Any], origin: Mapping[str, Any]) -> str:
    """The digits of a run that goes on from a checkpoint of another (``origin``) under another configuration."""
    text = json.dumps({"config": identity, "parent": origin}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def run_identity(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Every field that is part of a run's identity: the plugins, the marked fields of each section, seed, origin."""
    found = {key: section_identity(key, value) for key, value in sections.items()}
    return {key: own for key, own in found.items() if own is not None}


def section_identity(key: str, value: Any) -> Any:
    """The part of a run's identity that is one section's; None where it has none."""
    if isinstance(value, (Plugin, RunWeights)):
        return value.identity()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        standard = type(value)()
        marked = {
            name: identity(getattr(value, name))
            for name, mark in identity_fields(type(value)).items()
            if mark.always or getattr(value, name) != getattr(standard, name)
        }
        return marked or None
    return value if key in ("seed", "origin") else None


@functools.cache
def identity_fields(section: type[Any]) -> dict[str, Identity]:
    """The fields of a section that are marked as part of a run's identity, with their marks."""
    return {
        name: mark
        for name, annotation in hints(section).items()
        if get_origin(annotation) is not None
        for mark in get_args(annotation)[1:]
        if isinstance(mark, Identity)
    }


def slug(text: str) -> str:
    """Text as part of a file name: "rf/lognorm(0.00,1.00)" gives "rf_lognorm_0.00_1.00"."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", text).strip("_.")

"""Whether any code that could change a plan has changed, without importing it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

from experiments.registry import GROUPS, entries
from experiments.registry.installation import DISTRIBUTION, PACKAGES


def code_fingerprint() -> str:
    """SHA-256 over path, size and time of every source file of ours and of every package that brings a plugin."""
    digest = hashlib.sha256(importlib.metadata.version(DISTRIBUTION).encode())
    plugins = [entry for group in GROUPS for entry in entries(group).values()]
    for entry in plugins:
        digest.update(f"{entry.group} {entry.name} {entry.target}\n".encode())
    for package in sorted({*PACKAGES, *(entry.module.partition(".")[0] for entry in plugins)}):
        for file in _sources(package):
            stat = file.stat()
            digest.update(f"{file} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _sources(package: str) -> Iterator[Path]:
    spec = importlib.util.find_spec(package)
    if spec is None:
        return
    if spec.submodule_search_locations is None:
        if spec.origin is not None:
            yield Path(spec.origin)
        return
    for location in spec.submodule_search_locations:
        for folder, folders, files in os.walk(location):
            folders.sort()
            yield from (Path(folder, file) for file in sorted(files) if file.endswith(".py"))

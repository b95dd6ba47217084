"""Files that are either whole or absent: written aside, synced to disk, then renamed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


def write_atomically(path: Path, data: str | bytes, *, sync: bool = True) -> None:
    """Replace ``path`` by ``data`` so that a reader sees the old file or the new one, whatever interrupts us.

    Without ``sync`` a power cut may leave neither: for what is written every few seconds and may not wait for a disk.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        with open(aside, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any, *, sync: bool = True) -> None:
    """Write ``value`` as readable JSON, atomically; see :func:`write_atomically`."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n", sync=sync)


def read_json(path: Path) -> Any | None:
    """The file's JSON, or None where there is no file or no JSON in it."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None

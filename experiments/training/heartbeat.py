"""Signs of life from a rank to the process that started it, over a pipe. Imports no torch."""

from __future__ import annotations

import os
import time

VARIABLE = "FEWSTEP_HEARTBEAT"
"""Number of the pipe's end that this process writes to; there is none where nobody watches."""

BEAT = b"\0"
REASON = "\x1f"  # stands between the last words and the reason
EVERY = 0.5  # seconds between two beats, at least
_last = 0.0


def beat() -> None:
    """Say that this process has got on since the last beat. To be called by what must not hang, not by a thread."""
    global _last
    now = time.monotonic()
    if now - _last >= EVERY:
        _last = now
        _write(BEAT)


def last_beat() -> float | None:
    """When the last beat was, by the monotonic clock; None before the first."""
    return _last or None


def last_words(message: str, reason: str | None = None) -> None:
    """Say why this process ends, to people and to programs."""
    _write((message + (REASON + reason if reason else "")).encode())


def _write(data: bytes) -> None:
    pipe = os.environ.get(VARIABLE)
    if pipe is not None:
        try:
            os.write(int(pipe), data)
        except OSError:
            return  # nobody reads any more, or the reader is so far behind that it has beats enough

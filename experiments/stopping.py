"""Stopping in good order: a signal sets a flag, and the work ends at its next safe point."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from experiments.errors import Interrupted, StoppedAtOnce

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


class Stop:
    """Whether somebody asked us to stop. A second Ctrl-C raises :class:`StoppedAtOnce` wherever the process is."""

    def __init__(self) -> None:
        self.requested = False
        self.signal: int | None = None  # the first that asked; None where a thread did, or nobody

    def install(self) -> dict[signal.Signals, Any]:
        """Handle the signals here from now on; returns the handlers that were there before."""
        return {name: signal.signal(name, self._handle) for name in _SIGNALS}

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        """Handle SIGINT, SIGTERM and SIGUSR2 inside the block. Only the main thread may enter it."""
        before = self.install()
        try:
            yield self
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)

    def check(self) -> None:
        """Raise :class:`Interrupted` if a stop was asked for: for long work between its steps."""
        if self.requested:
            raise Interrupted("Stopped. The same command goes on from here.")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise StoppedAtOnce("Stopped at once. The same command goes on from the last checkpoint.")
        self.requested = True
        self.signal = self.signal or number

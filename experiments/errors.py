"""What can end a command, and the exit code that says so."""

from __future__ import annotations

import errno

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class Ended(Exception):
    """An end that is told to the user in one message, never as a traceback."""

    exit_code: int = 1


class UserError(Ended):
    """The user's input is wrong: nothing was written, nothing was run."""

    exit_code = 2


class RunFailed(Ended):
    """The run failed: a loss that is not finite, memory or disk exhausted.

    ``reason`` says so to programs: "not finite" would only come again, and is never retried without being asked for.
    """

    exit_code = 3

    def __init__(self, message: str, reason: str | None = None):
        super().__init__(message)
        self.reason = reason


class Interrupted(Ended):
    """Stopped before the end; the same command goes on from the last checkpoint."""

    exit_code = 75


class StoppedAtOnce(Interrupted):
    """Stopped a second time, or no longer allowed to write, and so without waiting for anything."""


def failure_of(error: BaseException) -> RunFailed | None:
    """How a run ends that met ``error``: a disk that takes no more is no fault of ours; None for anything else."""
    if isinstance(error, OSError) and error.errno in _DISK:
        return RunFailed(f"The disk refused a write ({error}). The last checkpoint is intact.", "disk")
    return None

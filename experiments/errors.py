"""What can end a command, and the exit code that says so."""

from __future__ import annotations


class Ended(Exception):
    """An end that is told to the user in one message, never as a traceback."""

    exit_code: int = 1


class UserError(Ended):
    """The user's input is wrong: nothing was written, nothing was run."""

    exit_code = 2


class RunFailed(Ended):
    """The run failed: a loss that is not finite, memory or disk exhausted."""

    exit_code = 3


class Interrupted(Ended):
    """Stopped before the end; the same command goes on from the last checkpoint."""

    exit_code = 75

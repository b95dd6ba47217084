"""``fewstep grid report --watch``: a report that follows a grid while it runs. Imports no torch."""

from __future__ import annotations

import time
from collections.abc import Callable

from experiments.cli.cells import ask_schedulers
from experiments.cli.console import tell
from experiments.grid.study import Study

EVERY = 10.0
"""Seconds between two reports: a page that is written more often is read by nobody."""
ENDED = ("done", "failed", "cancelled")


def follow(study: Study, write: Callable[[float | None], object], *, every: float = EVERY) -> None:
    """Write the report every so often until no cell can change by itself any more, or Ctrl-C.

    Args:
        study: the grid's folder; a grid that is planned anew meanwhile is read anew.
        write: writes the report, with the seconds after which its page loads itself again; None the last time, so
            that the page of a finished grid stays as it is.
        every: seconds between the end of one writing and the next.
    """
    said = ""
    try:
        while True:
            study.refresh()
            ask_schedulers(study)
            states = [state.state for _, state in study.states()]
            ended = all(state in ENDED for state in states)
            write(None if ended else every)
            counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states)))
            if counts != said:
                tell(f"{time.strftime('%H:%M:%S')} {study.report / 'index.html'}: {counts or 'no cells'}")
            said = counts
            if ended:
                return
            time.sleep(every)
    except KeyboardInterrupt:
        write(None)
        raise

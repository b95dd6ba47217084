"""Who makes a pair set: one at a time, on however many machines; the others wait. Who dies holds nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experiments.claims import Claim, Heartbeat, claim
from experiments.console import Reporter
from experiments.errors import Ended
from experiments.stopping import Stop

CLAIMS = Path("claims", "set")
LOOK = 0.5  # seconds between two looks whether another is done


@contextmanager
def held(path: Path, stop: Stop, reporter: Reporter) -> Iterator[Claim]:
    """Keeps others off the set in ``path`` inside the block; waits, with a word, while another is at it.

    Raises:
        Interrupted: a stop was asked for while we waited.
    """
    own, told = claim(path / CLAIMS), False
    while own is None:
        if not told:
            reporter.notice(f"Another process makes the pairs in {path}: waiting for it.")
            told = True
        time.sleep(LOOK)
        stop.check()
        own = claim(path / CLAIMS)
    outcome = "failed"
    try:
        with Heartbeat(own):
            yield own
        outcome = "done"
    except Ended as end:
        outcome = "interrupted" if end.exit_code == 75 else outcome
        raise
    finally:
        if own.ours:
            own.end(outcome)

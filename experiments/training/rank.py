"""Training on several processes of one machine: ``python -P -m experiments.training.rank RUN STYLE`` is one of them.

The process that starts the ranks watches them: it hears a sign of life from each over a pipe, ends all where one dies
or is silent too long, and passes on a stop. Each rank in turn ends when that process is gone.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

from experiments.console import Reporter, Style
from experiments.errors import Ended, Interrupted, RunFailed, failure_of
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training import heartbeat
from experiments.training.step import open_run

GRACE = 20.0  # seconds that the other ranks get to end after the first one died
STARTING = 10  # times the silence that is allowed later is allowed before the first step: data are read, code compiled
FENCE = 5.0  # seconds between two looks whether the run is still ours to write


def command(run: Run, style: Style) -> list[str]:
    """The command line of a rank."""
    return [sys.executable, "-P", "-m", "experiments.training.rank", str(run.path), style]


class Rank:
    """One process, in a session of its own, so that Ctrl-C reaches it through us alone."""

    def __init__(self, run: Run, number: int, processes: int, port: int, style: Style):
        self.number, self.heard, self.beats, self._words = number, time.monotonic(), 0, b""
        self._pipe, its_end = os.pipe()
        os.set_blocking(self._pipe, False)
        os.set_blocking(its_end, False)
        where = {
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0", "LOCAL_RANK": str(number),
            "WORLD_SIZE": str(processes), heartbeat.VARIABLE: str(its_end),
        }  # fmt: skip
        self.process = subprocess.Popen(
            command(run, style if number == 0 else "none"),
            env=os.environ | where,
            start_new_session=True,
            stdin=subprocess.PIPE,
            pass_fds=[its_end],
        )
        os.close(its_end)

    def listen(self) -> None:
        """Take in what it has said since the last time."""
        try:
            while data := os.read(self._pipe, 4096):
                self.heard = time.monotonic()
                self.beats += data.count(heartbeat.BEAT)
                self._words += data.replace(heartbeat.BEAT, b"")
        except BlockingIOError:
            return

    @property
    def words(self) -> str | None:
        """Why it ended, by its own account."""
        return self._words.decode(errors="replace").partition(heartbeat.REASON)[0] or None

    @property
    def reason(self) -> str | None:
        """The same for programs."""
        return self._words.decode(errors="replace").partition(heartbeat.REASON)[2] or None

    @property
    def code(self) -> int | None:
        """The exit code, −N where signal N killed it; None while it runs."""
        return self.process.poll()

    def hangs(self, timeout: float) -> bool:
        """Whether it runs and has been silent for too long."""
        allowed = timeout if self.beats else STARTING * timeout
        return self.code is None and time.monotonic() - self.heard > allowed

    def kill(self) -> None:
        """End it, and take in its last words."""
        if self.code is None:
            self.process.kill()
        self.process.wait()
        self.listen()
        os.close(self._pipe)
        if self.process.stdin is not None:
            self.process.stdin.close()


def fit_on_processes(run: Run, processes: int, *, stop: Stop, style: Style) -> None:
    """Train ``run`` on ``processes`` new processes, one rank each. Raises as ``fit`` does.

    Where a rank dies the others get GRACE seconds to end; where one gives no sign of life for ``trainer.rank_timeout``
    seconds (STARTING times as long before its first step) all are killed. Both are a :class:`RunFailed`.
    """
    port = _free_port()
    ranks: list[Rank] = []
    try:
        ranks += [Rank(run, number, processes, port, style) for number in range(processes)]
        failure = _watch(run, ranks, stop)
    finally:
        for rank in ranks:
            rank.kill()
    if failure is not None:
        raise RunFailed(failure, next((rank.reason for rank in ranks if rank.reason), None))
    if any(rank.code for rank in ranks):
        raise Interrupted(next((rank.words for rank in ranks if rank.words), "Stopped; the checkpoint is written."))


def _watch(run: Run, ranks: list[Rank], stop: Stop) -> str | None:
    """Wait for the ranks to end, or for a reason to kill those that are left; what went wrong, if something did."""
    told, first_death, fenced = False, None, time.monotonic()
    while any(rank.code is None for rank in ranks):
        now = time.monotonic()
        if stop.requested and not told:
            told = True
            for rank in ranks:
                rank.process.terminate()
        for rank in ranks:
            rank.listen()
            if first_death is None and rank.hangs(run.config.trainer.rank_timeout):
                return _told(
                    f"Rank {rank.number} of {len(ranks)} has shown no sign of life for {now - rank.heard:.0f} s"
                )
        if first_death is None and any(rank.code not in (None, 0, 75) for rank in ranks):
            first_death = now
        if first_death is not None and now - first_death > GRACE:
            break
        if now - fenced > FENCE:
            run.fence()
            fenced = now
        time.sleep(0.1)
    return _death(ranks, told)


def _death(ranks: list[Rank], told: bool) -> str | None:
    """Who ended badly, and why; first those that were killed, then
    those that know a reason: a death makes the others fail.

    A rank that a stop found before it could listen did not end badly.
    """
    for rank in sorted(ranks, key=lambda rank: ((rank.code or 0) >= 0, rank.code == 1)):
        rank.listen()
        code = rank.code
        if code is None or code in (0, 75) or (told and code == -signal.SIGTERM):
            continue
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return rank.words or _told(f"Rank {rank.number} of {len(ranks)} {how}")
    return None


def _told(what: str) -> str:
    return f"{what}; the others were ended. The same command goes on from the last checkpoint."


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _end_with_parent() -> None:
    """End this process as soon as the one that holds the other end of its standard input is gone."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(Interrupted.exit_code)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()


def main() -> int:
    """Train as one rank; the exit code."""
    _end_with_parent()
    stop = Stop()
    try:
        with stop.listening():
            from experiments.training.fit import fit

            fit(open_run(Path(sys.argv[1])), stop=stop, reporter=Reporter(sys.argv[2]))  # pyright: ignore[reportArgumentType]
    except Ended as end:
        heartbeat.last_words(str(end), getattr(end, "reason", None))
        return end.exit_code
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            traceback.print_exc()
        heartbeat.last_words(str(failure or f"{type(error).__name__}: {error}"))
        return RunFailed.exit_code if failure else 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a process group whose other ranks have died would hang in its own destructor

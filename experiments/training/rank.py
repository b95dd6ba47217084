"""Training on several processes of one machine: ``python -P -m experiments.training.rank RUN STYLE`` is one of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

from experiments.console import Reporter, Style
from experiments.errors import Ended, Interrupted, RunFailed
from experiments.runs import Run
from experiments.stopping import Stop

GRACE = 20.0  # seconds that the other ranks get to end after the first one died


def fit_on_processes(run: Run, processes: int, *, stop: Stop, style: Style) -> None:
    """Train ``run`` on ``processes`` new processes, one rank each. Raises as ``fit`` does."""
    ranks = [_start(run, rank, processes, port, style) for port in [_free_port()] for rank in range(processes)]
    told, ending_since = False, None
    try:
        while any(rank.poll() is None for rank in ranks):
            if stop.requested and not told:
                told = True
                for rank in ranks:
                    rank.send_signal(signal.SIGTERM)
            if ending_since is None and any(rank.poll() not in (None, 0, 75) for rank in ranks):
                ending_since = time.monotonic()
            if ending_since is not None and time.monotonic() - ending_since > GRACE:
                _kill(ranks)
            time.sleep(0.1)
    finally:
        _kill(ranks)
    codes = [rank.wait() for rank in ranks]
    message = run.status.get("message")
    if all(code == 0 for code in codes):
        return
    if any(code not in (0, 75) for code in codes):
        raise RunFailed(message or f"A process of {processes} ended badly (exit codes by rank: {codes}).")
    raise Interrupted(message or "Stopped; the checkpoint is written.")


def _start(run: Run, rank: int, processes: int, port: int, style: Style) -> subprocess.Popen[bytes]:
    """A rank in a session of its own, so that Ctrl-C reaches it through us alone."""
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0", "LOCAL_RANK": str(rank)}
    command = [sys.executable, "-P", "-m", "experiments.training.rank", str(run.path), style if rank == 0 else "none"]
    return subprocess.Popen(command, env=os.environ | where | {"WORLD_SIZE": str(processes)}, start_new_session=True)


def _kill(ranks: list[subprocess.Popen[bytes]]) -> None:
    for rank in ranks:
        if rank.poll() is None:
            rank.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> int:
    from experiments.training.fit import fit

    run, style = Run.open(sys.argv[1]), sys.argv[2]
    stop = Stop()
    try:
        with stop.listening():
            fit(run, stop=stop, reporter=Reporter(style))  # pyright: ignore[reportArgumentType]
    except Ended as end:
        if os.environ["LOCAL_RANK"] == "0":
            run.write_status(run.status["state"], message=str(end))
        return end.exit_code
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a process group whose other ranks have died would hang in its own destructor

"""Several processes at one pair set: ``python -P -m experiments.pairs.processes DIR RUN DEVICE`` is one of them.

The one that starts them hands each the number of a shard at a time over its standard input, and hears over its
standard output when it is made. Nothing else is shared: no shard is made twice, and nothing stays locked where one
dies. Each ends when the one that started it is gone.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from experiments.console import Reporter
from experiments.errors import Ended, Interrupted, RunFailed, failure_of
from experiments.evaluation.loaded import LoadedRun
from experiments.pairs.folder import Folder
from experiments.pairs.recipe import Recipe

LOOK = 0.2  # seconds between two looks whether we must end
REASON = "failed: "


class Progress:
    """How many pairs and shards are done."""

    def __init__(self, reporter: Reporter, recipe: Recipe, missing: Sequence[int]) -> None:
        self._reporter, self._recipe = reporter, recipe
        self.shards = recipe.shards - len(missing)
        self.done = recipe.num - sum(len(recipe.rows(number)) for number in missing)

    def add(self, number: int) -> None:
        """A shard is done."""
        self.shards += 1
        self.done += len(self._recipe.rows(number))
        self._reporter.advance(self.done, f"{self.shards}/{self._recipe.shards} shards")


class Worker:
    """One process, in a session of its own, so that Ctrl-C reaches it through us alone."""

    def __init__(self, folder: Folder, run: Path, device: str) -> None:
        command = [sys.executable, "-P", "-m", "experiments.pairs.processes", str(folder.path), str(run), device]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True, bufsize=1
        )
        self.number: int | None = None

    @property
    def said(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    def hand(self, number: int) -> None:
        """Have it make a shard."""
        assert self.process.stdin is not None
        self.number = number
        with contextlib.suppress(BrokenPipeError):  # it has died, and says so where its output ends
            self.process.stdin.write(f"{number}\n")

    def end(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def make_on_processes(
    loaded: LoadedRun,
    folder: Folder,
    missing: Sequence[int],
    processes: int,
    check: Callable[[], None],
    progress: Progress,
) -> None:
    """Make the shards ``missing`` on new processes; ``check`` raises where we must end. Raises :class:`RunFailed`."""
    todo, workers = deque(missing), list[Worker]()
    with selectors.DefaultSelector() as heard:
        try:
            for number in range(processes):
                workers.append(Worker(folder, loaded.run.path, _device(loaded, number)))
                heard.register(workers[-1].said, selectors.EVENT_READ, workers[-1])
                workers[-1].hand(todo.popleft())
            while heard.get_map():
                check()
                for key, _ in heard.select(LOOK):
                    worker: Worker = key.data
                    _listen(worker, progress)
                    if todo:
                        worker.hand(todo.popleft())
                    else:
                        heard.unregister(worker.said)
        finally:
            for worker in workers:
                worker.end()


def _listen(worker: Worker, progress: Progress) -> None:
    """Take in that a shard is made. Raises :class:`RunFailed` where the process ended instead."""
    line = worker.said.readline()
    if line.strip() == str(worker.number):
        assert worker.number is not None
        progress.add(worker.number)
        return
    if line.startswith(REASON):
        raise RunFailed(line.removeprefix(REASON).strip())
    code = worker.process.wait()
    raise RunFailed(
        f"A process ended with exit code {code} at shard {worker.number}; the others were ended. The same command goes "
        "on with the shards that are left."
    )


def _device(loaded: LoadedRun, number: int) -> str:
    """The processes take the GPUs in turn."""
    import torch

    return f"cuda:{number % torch.cuda.device_count()}" if loaded.device.type == "cuda" else "cpu"


def _numbers() -> SimpleQueue[int]:
    """The shards that we are handed. As soon as the one who does is gone, this process ends."""
    handed: SimpleQueue[int] = SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            handed.put(int(line))
        os._exit(Interrupted.exit_code)

    threading.Thread(target=listen, name="handed", daemon=True).start()
    return handed


def main() -> None:
    """Make shards until we are ended."""
    handed, out = _numbers(), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no word of ours
    try:
        from experiments.pairs.making import Maker
        from experiments.runs import Run

        folder = Folder.open(Path(sys.argv[1]))
        maker = Maker(LoadedRun(Run.open(sys.argv[2]), device=sys.argv[3]), folder)
        while True:
            number = handed.get()
            maker.make(number)
            print(number, file=out, flush=True)
    except (Ended, OSError) as error:
        failure = error if isinstance(error, Ended) else failure_of(error)
        if failure is None:
            raise
        print(f"{REASON}{' '.join(str(failure).split())}", file=out, flush=True)


if __name__ == "__main__":
    main()

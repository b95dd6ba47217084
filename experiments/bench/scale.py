"""A grid of very many cells under very many workers that only sleep, on one file-system tree.

What is real: the plan, the listings, the claims with their heartbeats and fences, the runs' status and done files. What
is not: the cells train nothing, and the workers are threads of a few processes. Every execution leaves a line in a
file of its own worker, so that what was run is known apart from what the study says.
"""

from __future__ import annotations

import builtins
import io
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import claims, code
from experiments.claims import Heartbeat
from experiments.grid.hints import note
from experiments.grid.study import Cell, Study
from experiments.grid.taking import Taker

PROCESSES = 8
COMMAND = (sys.executable, "-P", "-m", "experiments.bench.scale")


@dataclass(frozen=True)
class Scale:
    """What came of it. ``seconds`` is from the first worker's start to the last one's end, ``status_seconds`` how long
    `fewstep grid status` took, ``operations`` what one cell costs in calls to the file system, by name."""

    cells: int
    workers: int
    lost: int
    twice: int
    seconds: float
    status_seconds: float
    operations: dict[str, float]


def measure(folder: Path, *, cells: int, workers: int, sleep: float, timeout: float = 900.0) -> Scale:
    """Run the simulation in ``folder``, which must be empty or absent; raises TimeoutError after ``timeout`` s."""
    study = plan(folder, cells)
    began = time.monotonic()
    shares = [workers // PROCESSES + (place < workers % PROCESSES) for place in range(PROCESSES)]
    running = [
        subprocess.Popen([*COMMAND, str(folder), str(share), str(sleep), str(place)])
        for place, share in enumerate(shares)
        if share
    ]
    try:
        for process in running:
            if process.wait(timeout=max(0.1, began + timeout - time.monotonic())):
                raise RuntimeError(f"a process of workers ended with {process.returncode}")
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"not done within {timeout:.0f} s") from None
    finally:
        for process in running:
            process.kill()
            process.wait()
    seconds = time.monotonic() - began
    executed = Counter(line for file in folder.glob("executed-*") for line in file.read_text().split())
    states = Counter(state.state for _, state in Study(folder).states())
    twice = sum(count > 1 for count in executed.values()) + sum(
        sum(one.outcome == "done" for one in claims.history(study.claims(cell))) > 1 for cell in study.cells
    )
    lost = cells - min(states["done"], len(executed))
    return Scale(cells, workers, lost, twice, seconds, status(folder), operations(folder / "one"))


def plan(folder: Path, count: int) -> Study:
    """A study of ``count`` cells of which nothing has been run, ten seeds of each."""
    folder.mkdir(parents=True, exist_ok=True)
    study = Study(folder)
    study.write_plan(
        [
            Cell(
                f"cell {number % (count // 10 or 1)} seed={number // (count // 10 or 1)}", f"{number:012x}",
                f"cell-{number:012x}", "e" * 12, "rf", "dit", "digits", number // (count // 10 or 1), 1000,
                {"optimizer.lr": number % (count // 10 or 1), "seed": number // (count // 10 or 1)},
            )
            for number in range(count)
        ],
        key="", base={},
    )  # fmt: skip
    return study


def status(folder: Path) -> float:
    """How long the command takes that a person types, from start to end."""
    began = time.monotonic()
    command = [sys.executable, "-P", "-c", "from experiments.cli import main; main()", "grid", "status", str(folder)]
    subprocess.run([*command, "--rows", "20"], check=True, capture_output=True)
    return time.monotonic() - began


def work(study: Study, sleep: float, seed: int) -> None:
    """One worker, until no cell is left."""
    luck = random.Random(seed)
    taker = Taker(study, launch="simulation", luck=luck)
    with open(study.path / f"executed-{seed}", "a") as executed:
        while (taken := taker.take()) is not None:
            cell, held = taken
            with Heartbeat(held):
                executed.write(f"{cell.hash}\n")
                executed.flush()
                run = study.run(cell)
                run.fence = held.check
                run.path.mkdir(exist_ok=True)
                run.write_status("running", step=0, max_steps=cell.max_steps)
                time.sleep(luck.uniform(0.5, 1.5) * sleep)
                run.mark_done(step=cell.max_steps, evaluations=[cell.evaluation])
                held.end("done")
            note(study, cell, cell.evaluation)


def operations(folder: Path) -> dict[str, float]:
    """Calls to the file system for each cell, of a single worker over ten cells."""
    study, count = plan(folder, 10), 10
    code.version()  # once for each process
    with counted() as found:
        work(study, 0.0, 0)
    return {name: number / count for name, number in sorted(found.items())}


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count what this process asks of the file system inside the block, by the call's name."""
    found: Counter[str] = Counter()
    places = [(os, name) for name in _CALLS] + [(builtins, "open"), (io, "open")]
    originals = [getattr(module, name) for module, name in places]
    for (module, name), original in zip(places, originals, strict=True):
        setattr(module, name, _counting(found, name, original))
    try:
        yield found
    finally:
        for (module, name), original in zip(places, originals, strict=True):
            setattr(module, name, original)


def _counting(found: Counter[str], name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        found[name] += 1
        return original(*arguments, **options)

    return call


_CALLS = ("stat", "listdir", "mkdir", "link", "unlink", "replace", "utime", "fsync", "open")


def main(arguments: list[str]) -> int:
    """``STUDY WORKERS SLEEP PLACE``: one process of simulated workers."""
    folder, workers, sleep, place = Path(arguments[0]), int(arguments[1]), float(arguments[2]), int(arguments[3])
    shared = Study.open(folder)
    plan, cells = shared.plan, shared.cells

    def one(number: int) -> None:
        study = Study(folder)
        study.__dict__.update(plan=plan, cells=cells, _stamp=shared.__dict__["_stamp"])  # read once, not 1,000 times
        work(study, sleep, 1000 * place + number)

    _end_with_parent()
    threading.stack_size(256 * 1024)
    threads = [threading.Thread(target=one, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0


def _end_with_parent() -> None:
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

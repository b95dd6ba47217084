"""``fewstep bench``: measured costs as ratios to a baseline in the same process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from experiments.bench.timing import Paired

app = typer.Typer(help="Measure costs as ratios to a baseline in the same process.", no_args_is_help=True)


@app.command()
def overhead(pairs: int = 25) -> None:
    """A step of `fewstep train` against a bare loop with the same data, AdamW, clipping and EMA, by two clocks."""
    import statistics

    from rich.console import Console

    from experiments.bench.overhead import measure

    for case in measure(pairs=pairs):
        _print("fewstep train against a bare loop", [case.steps])
        bare = statistics.median(case.steps.baseline)
        parts = [f"{part} {1000 * s:.2f} ms ({s / bare:.1%})" for part, s in case.parts.items()]
        low, high = case.wall.spread
        wall = (
            f"  by the wall's clock {case.wall.ratio:.3f} ({low:.3f} to {high:.3f}), over all {case.wall.overall:.3f}"
        )
        Console().print(wall, highlight=False, soft_wrap=True)
        told = f"  {case.with_checkpoints:.3f} with all work on checkpoints; by part "
        Console().print(told + ", ".join(parts), highlight=False, soft_wrap=True)


@app.command()
def shortcut(pairs: int = 7, threads: int = 2, memory: bool = False) -> None:
    """A shortcut step against a flow-matching step (theory for k = 1/4: 1.167); with --memory, their peak memory."""
    from experiments.bench.shortcut import measure, measure_memory

    if not memory:
        _print("shortcut against flow matching", measure(pairs=pairs, threads=threads))
        return
    for found in measure_memory(threads=threads):
        megabytes = [f"{count / 2**20:,.1f} MiB" for count in (found.flow, found.other)]
        print(f"{found.name}: {megabytes[1]}, flow matching {megabytes[0]}, ratio {found.ratio:.4f}", flush=True)


@app.command()
def objectives(pairs: int = 21, threads: int = 1, only: str = "") -> None:
    """A training step of every objective against plain rf's, beside its passes through the network, as Markdown.

    --only takes a part of an objective's name.
    """
    from experiments.bench.objectives import table

    for line in table(pairs=pairs, threads=threads, only=only):
        print(line, flush=True)


@app.command()
def backbones(
    pairs: int = 21,
    threads: int = 1,
    compiled: bool = False,
    device: str = "cpu",
    only: str = "",
    depth: int | None = None,
) -> None:
    """Forward and backward of our DiT and MM-DiT beside diffusers': time and peak memory, as Markdown.

    --only takes a part of a case's name, --depth another number of blocks: compiling all of them takes minutes.
    """
    from experiments.bench.backbones import table

    for line in table(pairs=pairs, threads=threads, compiled=compiled, device=device, only=only, depth=depth):
        print(line, flush=True)


@app.command()
def solvers() -> None:
    """The order of convergence of every solver on every path, as Markdown: docs/solvers.md."""
    from experiments.bench.solvers import table

    for line in table():
        print(line, flush=True)


@app.command()
def intervals(studies: int = 2000) -> None:
    """How often the report's intervals hold what they should, over simulated studies: docs/statistics.md."""
    from experiments.bench.intervals import table

    for line in table(studies=studies):
        print(line, flush=True)


@app.command()
def grid(jobs: int = 2, steps: int = 300) -> None:
    """A grid of 24 small cells on this machine: how full the cores are, and what is not a cell's own time."""
    import tempfile
    from pathlib import Path

    from experiments.bench.grid import measure

    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), jobs=jobs, steps=steps)
    print(f"{found.cells} cells of {found.cell:.1f} s (median), {found.jobs} workers: {found.makespan:.1f} s in all")
    print(f"occupancy {found.occupancy:.3f}: the cells' own time over workers x makespan")
    print(f"a worker's start-up: {found.start_up:.2f} s, once for each worker")
    print(f"from one cell's end to the next one's start: {found.between:.3f} s")
    print(f"the launcher's own processor time: {found.launcher:.3f} s a cell")


@app.command()
def scale(cells: int = 10_000, workers: int = 1_000, sleep: float = 1.0, timeout: float = 900.0) -> None:
    """A grid of very many cells under very many workers that only sleep, in one folder: none lost, none run twice."""
    import tempfile
    from pathlib import Path

    from experiments.bench.scale import measure

    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder, "study"), cells=cells, workers=workers, sleep=sleep, timeout=timeout)
    print(f"{cells} cells of {sleep:g} s under {workers} workers: {found.seconds:.0f} s")
    print(
        f"lost: {found.lost}, run twice: {found.twice}; `fewstep grid status` of it all: {found.status_seconds:.2f} s"
    )
    print("calls to the file system for a cell:", ", ".join(f"{n} {c:g}" for n, c in found.operations.items()))
    if found.lost or found.twice:
        raise typer.Exit(1)


def _print(title: str, results: list[Paired]) -> None:
    import statistics

    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{title} (median of {len(results[0].baseline)} pairs)")
    for column in ("case", "baseline ms", "ms", "ratio", "lowest", "highest"):
        table.add_column(column, justify="left" if column == "case" else "right")
    for result in results:
        low, high = result.spread
        milliseconds = [1000 * statistics.median(times) for times in (result.baseline, result.candidate)]
        table.add_row(
            result.name, *(f"{value:.1f}" for value in milliseconds), f"{result.ratio:.3f}", f"{low:.3f}", f"{high:.3f}"
        )
    Console().print(table)

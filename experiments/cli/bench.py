"""``fewstep bench``: measured costs as ratios to a baseline in the same process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from experiments.bench.timing import Paired

app = typer.Typer(help="Measure costs as ratios to a baseline in the same process.", no_args_is_help=True)


@app.command()
def overhead(pairs: int = 5, threads: int = 2) -> None:
    """A step of `fewstep train` against a bare loop with the same data, AdamW, clipping and EMA."""
    import statistics

    from rich.console import Console

    from experiments.bench.overhead import measure

    for case in measure(pairs=pairs, threads=threads):
        _print("fewstep train against a bare loop", [case.steps])
        bare = statistics.median(case.steps.baseline)
        parts = [f"{part} {1000 * s:.2f} ms ({s / bare:.1%})" for part, s in case.parts.items()]
        Console().print("  of which " + ", ".join(parts), highlight=False, soft_wrap=True)


@app.command()
def shortcut(pairs: int = 7, threads: int = 2) -> None:
    """A shortcut step against a flow-matching step (theory for k = 1/4: 1.167)."""
    from experiments.bench.shortcut import measure

    _print("shortcut against flow matching", measure(pairs=pairs, threads=threads))


@app.command()
def objectives(pairs: int = 7, threads: int = 2) -> None:
    """A training step of every objective against plain rf's, beside its passes through the network, as Markdown."""
    from experiments.bench.objectives import table

    for line in table(pairs=pairs, threads=threads):
        print(line, flush=True)


@app.command()
def solvers() -> None:
    """The order of convergence of every solver on every path, as Markdown: docs/solvers.md."""
    from experiments.bench.solvers import table

    for line in table():
        print(line, flush=True)


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

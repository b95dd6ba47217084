"""``fewstep grid``: plan, run, look at and report a grid of runs. Imports no torch by itself."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from experiments.cli import cells
from experiments.config.faults import unknown
from experiments.config.reading import where
from experiments.errors import Interrupted, RunFailed, UserError
from experiments.grid.states import CellState
from experiments.grid.study import Study
from experiments.registry import resolve_name

if TYPE_CHECKING:
    from experiments.grid.language import Grid

SHIPPED = Path(__file__).resolve().parents[1] / "grids"

app = typer.Typer(no_args_is_help=True, help="Plan, run and report a grid of runs.")

GridFile = Annotated[str, typer.Argument(metavar="GRID", help="A grid's YAML file, or the name of a shipped grid.")]
StudyOrGrid = Annotated[str, typer.Argument(metavar="GRID|STUDY", help="A grid's file or name, or a study's folder.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Laid over the grid's base.")]
Out = Annotated[Path | None, typer.Option(help="The study's folder.", show_default="studies/NAME")]
Smoke = Annotated[bool, typer.Option("--smoke", help="Cut down: each axis' values once, two steps, tiny networks.")]


@app.command()
def plan(
    grid: GridFile,
    overrides: Overrides = None,
    out: Out = None,
    measure: Annotated[bool, typer.Option("--measure", help="Time a few steps of a cell of each kind.")] = False,
    smoke: Smoke = False,
    rows: Annotated[int, typer.Option(min=1, help="At most so many rows.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: everything about each cell.")] = False,
) -> None:
    """Show what a grid comes to before it is run: its cells, steps, FLOPs, hours, disk, and what is done already."""
    from experiments.cli import plans

    plans.show(*_grid(grid, overrides, out, smoke=smoke), measure=measure, rows=rows, as_json=as_json)


@app.command()
def run(
    grid: GridFile,
    overrides: Overrides = None,
    out: Out = None,
    launcher: Annotated[str, typer.Option(help="What brings the cells to processors.")] = "local",
    jobs: Annotated[int | None, typer.Option(help="Workers at a time.", show_default="the cores")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of each worker.", show_default="cores / jobs")] = None,
    attempts: Annotated[
        int | None, typer.Option(help="How often a cell may die before it is left alone.", show_default="2")
    ] = None,
    per_device: Annotated[int | None, typer.Option(help="Workers that share a GPU.", show_default="1")] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="End with the first cell that fails.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write and show the scripts; submit nothing.")] = False,
    smoke: Smoke = False,
) -> None:
    """Run what is left of a grid, then write its report. Started again, it goes on where it was.

    Cells that the grid has no more are cancelled; changed ones are new cells.
    """
    from experiments.grid.board import Board
    from experiments.grid.planning import prepare

    asked, study = _grid(grid, overrides, out, smoke=smoke)
    options = {"jobs": jobs, "threads": threads, "attempts": attempts, "per_device": per_device}
    options |= {"fail_fast": fail_fast or None, "dry_run": dry_run or None}
    chosen = _launcher(launcher, {name: value for name, value in options.items() if value is not None})
    if hasattr(chosen, "check"):
        chosen.check(asked.asks(), lambda key: where(asked.blocks[0].marks, key))
    console = Console(stderr=True)
    prepare(asked, study)
    if not dry_run:
        _bring_in_step(study, console)
    nothing_new = _finished(study) and study.report.is_dir()
    if not _finished(study):
        with Board(study, console) as board:
            code = chosen.launch(study, board)
        if not getattr(chosen, "waits", True):
            return
        if code == Interrupted.exit_code:
            raise Interrupted("Stopped. The same command goes on where it was.")
    _show_report(study, anew=not nothing_new)
    states = list(study.states())
    failed = [f"{cell.name}: {state.message} (see {study.log(cell)})" for cell, state in states if _failed(state)]
    if failed:
        raise RunFailed(f"{len(failed)} of {len(states)} cells failed:\n  " + "\n  ".join(failed))


def _failed(state: CellState) -> bool:
    return state.state == "failed" or not state.ready


def _bring_in_step(study: Study, console: Console) -> None:
    """Cancel what the grid has no more, and say so."""
    from experiments.grid import orders

    gone, _ = orders.bring_in_step(study)
    cells.cancel_submitted(study, gone)
    if gone:
        console.print(f"{len(gone)} cells that the grid has no more were at work or queued: cancelled", highlight=False)
    by_hand = len(study.look().cancelled.keys() & {cell.hash for cell in study.cells})
    if by_hand:
        again = f"`fewstep grid retry {study.path} cancelled` takes that back"
        console.print(f"{by_hand} cells are cancelled; {again}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def status(
    study: StudyOrGrid,
    words: cells.Words = None,
    out: Out = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep the table up to date.")] = False,
    rows: Annotated[int, typer.Option(min=1, help="At most so many rows.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: everything about each cell.")] = False,
) -> None:
    """Show how far each cell is, from the study's files: all cells, or those of a name, a state or a condition."""
    cells.status(_study(study, out), words or [], watch=watch, rows=rows, as_json=as_json)


app.command()(cells.logs)
app.command()(cells.retry)
app.command()(cells.cancel)


@app.command()
def report(
    study: StudyOrGrid,
    other: Annotated[str | None, typer.Argument(metavar="[OTHER]", help="A second one, to compare with.")] = None,
    out: Out = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help="What rows are compared with: an objective, a backbone, a variant or a cell; may be repeated."
        ),
    ] = None,
    rank: Annotated[
        str | None, typer.Option(help="Metrics of the global rank.", show_default="the first distance,precision")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every 10 s until the grid has ended.")] = False,
) -> None:
    """Write the study's report anew and print its table; with OTHER compare the two, OTHER less STUDY."""
    if other is not None and watch:
        raise UserError("--watch follows one study; two are compared once")
    if other is not None:
        from experiments.report import write_comparison

        folder = write_comparison(_study(study, out).path, _study(other, None).path)
        first = (folder / "comparison.md").read_text().split("\n## ")[:2]
        Console().print("\n## ".join(first), markup=False, highlight=False, soft_wrap=True)
        Console().print(f"The comparison: {folder / 'comparison.md'}", markup=False, highlight=False, soft_wrap=True)
        return
    ranked = [name.strip() for name in rank.split(",")] if rank else []
    found = _study(study, out)
    if watch:
        from experiments.cli.watching import follow
        from experiments.report import write_report

        def write(every: float | None) -> None:
            write_report(found.path, reload_every=every, baseline=baseline or [], ranked=ranked)

        follow(found, write)
    _show_report(found, anew=not watch, baseline=baseline or [], ranked=ranked)


def _grid(name: str, overrides: list[str] | None, out: Path | None, *, smoke: bool = False) -> tuple[Grid, Study]:
    """The grid of a file or a shipped name, with overrides laid over its base, and its study."""
    from experiments.grid.language import read_grid
    from experiments.grid.planning import vary_base
    from experiments.grid.smoke import smoke as cut

    file, shipped = Path(name), SHIPPED / f"{name}.yaml"
    if not file.exists() and shipped.is_file():
        file = shipped
    grid = vary_base(read_grid(file), overrides or [])
    if smoke:
        grid = vary_base(cut(grid), overrides or [])  # again: what is asked for wins over what is cut
    return grid, Study(out or Path("studies", grid.name))


def _study(name: str, out: Path | None) -> Study:
    """The study in a folder, or the one that a grid's runs are in."""
    if Path(name).is_dir():
        return Study.open(Path(name))
    return Study.open(_grid(name, None, out)[1].path)


def _launcher(name: str, options: Mapping[str, Any]) -> Any:
    """A launcher with the options that were given; a :class:`UserError` for one that it has not."""
    try:
        launcher = resolve_name("launchers", name).entry.load()
        allowed = list(inspect.signature(launcher).parameters)
        for option in options:
            if option not in allowed:
                raise UserError(f"launcher {name}: {unknown('option', option, allowed)}")
        return launcher(**options)
    except ValueError as error:
        raise UserError(f"launcher {name}: {error}") from None


def _finished(study: Study) -> bool:
    return all(state.state in ("done", "cancelled") for _, state in study.states())


def _show_report(study: Study, *, anew: bool, baseline: Sequence[str] = (), ranked: Sequence[str] = ()) -> None:
    from experiments.report import table, write_report

    console = Console()
    folder = write_report(study.path, baseline=baseline, ranked=ranked) if anew else study.report
    console.print(table(study.path, baseline=baseline))
    console.print(f"The report: {folder / 'index.html'}", markup=False, highlight=False, soft_wrap=True)

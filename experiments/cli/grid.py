"""``fewstep grid``: plan, run, look at and report a grid of runs. Imports no torch by itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.errors import Interrupted, RunFailed, UserError
from experiments.grid.study import Cell, CellState, Study
from experiments.registry import resolve_name

if TYPE_CHECKING:
    from experiments.grid.language import Grid

SHIPPED = Path(__file__).resolve().parents[1] / "grids"

app = typer.Typer(no_args_is_help=True, help="Plan, run and report a grid of runs.")

GridFile = Annotated[str, typer.Argument(metavar="GRID", help="A grid's YAML file, or the name of a shipped grid.")]
StudyOrGrid = Annotated[str, typer.Argument(metavar="GRID|STUDY", help="A grid's file or name, or a study's folder.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Laid over the grid's base.")]
Out = Annotated[Path | None, typer.Option(help="The study's folder.", show_default="studies/NAME")]


@app.command()
def plan(grid: GridFile, overrides: Overrides = None, out: Out = None) -> None:
    """Show the cells of a grid: names, hashes, steps, what is done already, how long the rest takes."""
    from experiments.grid.board import duration
    from experiments.grid.planning import planned

    asked, study = _grid(grid, overrides, out)
    cells = planned(asked, study)
    states = [(cell, study.state(cell)) for cell in cells]
    table = Table(title=f"{asked.name}: {len(cells)} runs in {study.path}")
    for heading in ("run", "cell", "state"):
        table.add_column(heading, overflow="fold")
    table.add_column("steps", justify="right")
    for cell, state in states:
        table.add_row(cell.hash, escape(cell.name), state.state, f"{state.step}/{cell.max_steps}")
    done = sum(state.state == "done" for _, state in states)
    steps = sum(cell.max_steps - state.step for cell, state in states)
    seconds = _seconds_left(study, states)
    told = f"; about {duration(seconds)} of one worker, by the finished cells" if seconds else ""
    console = Console()
    console.print(table)
    console.print(f"{done} of {len(cells)} runs are done; {steps} steps are left{told}.", highlight=False)


@app.command()
def run(
    grid: GridFile,
    overrides: Overrides = None,
    out: Out = None,
    launcher: Annotated[str, typer.Option(help="What brings the cells to processors.")] = "local",
    jobs: Annotated[int | None, typer.Option(help="Workers at a time.", show_default="the cores")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of each worker.", show_default="cores / jobs")] = None,
    attempts: Annotated[int, typer.Option(help="How often a cell may die before it is left alone.")] = 2,
) -> None:
    """Run what is left of a grid, then write its report. Started again, it goes on where it was."""
    from experiments.grid.board import Board
    from experiments.grid.planning import prepare

    asked, study = _grid(grid, overrides, out)
    try:
        chosen = _launcher(launcher)(jobs=jobs, threads=threads, attempts=attempts)
    except (TypeError, ValueError) as error:
        raise UserError(f"launcher {launcher}: {error}") from None
    prepare(asked, study)
    nothing_new = _finished(study) and study.report.is_dir()
    console = Console(stderr=True)
    if not _finished(study):
        with Board(study, console) as board:
            code = chosen.launch(study, board)
        if code == Interrupted.exit_code:
            raise Interrupted("Stopped. The same command goes on where it was.")
    _show_report(study, anew=not nothing_new)
    failed = [(cell, state) for cell, state in study.states() if state.state == "failed"]
    if failed:
        lines = [f"{cell.name}: {state.message} (see {study.log(cell)})" for cell, state in failed]
        raise RunFailed(f"{len(failed)} of {len(study.cells)} cells failed:\n  " + "\n  ".join(lines))


@app.command()
def status(study: StudyOrGrid, out: Out = None) -> None:
    """Show how far each cell is, from the study's files."""
    from experiments.grid.board import table

    found = _study(study, out)
    Console().print(table(found, list(found.states())))


@app.command()
def report(study: StudyOrGrid, out: Out = None) -> None:
    """Write the study's report anew and print its table."""
    _show_report(_study(study, out), anew=True)


def _grid(name: str, overrides: list[str] | None, out: Path | None) -> tuple[Grid, Study]:
    """The grid of a file or a shipped name, with overrides laid over its base, and its study."""
    from experiments.grid.language import read_grid
    from experiments.grid.planning import vary_base

    file, shipped = Path(name), SHIPPED / f"{name}.yaml"
    if not file.exists() and shipped.is_file():
        file = shipped
    grid = vary_base(read_grid(file), overrides or [])
    return grid, Study(out or Path("studies", grid.name))


def _study(name: str, out: Path | None) -> Study:
    """The study in a folder, or the one that a grid's runs are in."""
    if Path(name).is_dir():
        return Study.open(Path(name))
    return Study.open(_grid(name, None, out)[1].path)


def _launcher(name: str) -> type[Any]:
    try:
        return resolve_name("launchers", name).entry.load()
    except ValueError as error:
        raise UserError(str(error)) from None


def _finished(study: Study) -> bool:
    return all(state.state == "done" for _, state in study.states())


def _seconds_left(study: Study, states: list[tuple[Cell, CellState]]) -> float | None:
    """Worker time that the open cells will take, by what the finished ones took per step; None where none is."""
    done = [cell for cell, state in states if state.state == "done"]
    steps = sum(cell.max_steps for cell in done)
    seconds = sum(study.seconds(cell) for cell in done)
    left = sum(cell.max_steps - state.step for cell, state in states if state.state != "done")
    return left * seconds / steps if steps and seconds else None


def _show_report(study: Study, *, anew: bool) -> None:
    from experiments.report import table, write_report

    console = Console()
    folder = write_report(study.path) if anew else study.report
    console.print(table(study.path))
    console.print(f"The report: {folder / 'index.html'}", markup=False, highlight=False, soft_wrap=True)

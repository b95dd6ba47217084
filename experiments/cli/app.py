"""All commands together, and what an exception turns into."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from experiments.cli.bench import app as bench
from experiments.cli.console import refuse
from experiments.cli.ema import ema
from experiments.cli.grid import app as grid
from experiments.cli.matching import match
from experiments.cli.pairs import pairs
from experiments.cli.plugins import describe, list_plugins
from experiments.cli.profile import profile
from experiments.cli.public import export, import_
from experiments.cli.results import evaluate, likelihood, sample
from experiments.cli.train import resume, train
from experiments.errors import Ended, UserError
from experiments.registry import shadowed_packages, whose_fault

STOPPED = 130
"""Exit code where Ctrl-C ends a command that has nothing to resume (128 + SIGINT, as a shell has it)."""


class Commands(TyperGroup):
    """A group of commands that Ctrl-C ends without a traceback, whatever typer's version makes of it."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(STOPPED) from None


app = typer.Typer(
    name="fewstep",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("fewstep"))
        raise typer.Exit


@app.callback()
def fewstep(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="The version.")] = False,
) -> None:
    """Train, sample, measure and compare few-step and many-step generative models.

    Exit codes: 0 done, 2 wrong input, 3 the run failed, 75 stopped and resumable, 1 a fault of fewstep's own.
    """


app.command()(train)
app.command()(resume)
app.command()(sample)
app.command()(evaluate)
app.command()(likelihood)
app.command()(ema)
app.command(name="import")(import_)
app.command()(export)
app.command()(pairs)
app.command()(profile)
app.command()(match)
app.add_typer(grid, name="grid")
app.command(name="list")(list_plugins)
app.command()(describe)
app.add_typer(bench, name="bench")


def start(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code. What the user can mend is one message, a fault of ours a traceback."""
    try:
        shadows = shadowed_packages(sys.path)
        if shadows:
            raise UserError("; ".join(shadows) + ". Rename it, or start from another folder.")
        app(args=None if arguments is None else list(arguments), prog_name="fewstep")
    except Ended as error:
        refuse(str(error))
        return error.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return STOPPED
    except Exception as error:
        traceback.print_exc()
        other = whose_fault(error)
        owner = "fewstep's own" if other is None else f"the plugin package {other}"
        refuse(f"this is a fault of {owner}; please report it with the lines above")
        return 1
    return 0

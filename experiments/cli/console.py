"""Where commands write: results to standard output, messages to standard error."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 200
"""Columns where the output is no terminal, so that a pipe gets whole lines."""


def output() -> Console:
    """Standard output; wide where nobody's window limits it."""
    return Console() if sys.stdout.isatty() else Console(width=WIDE)


def messages() -> Console:
    """Standard error."""
    return Console(stderr=True)


def tell(message: str, *, style: str = "dim") -> None:
    """One line on standard error that is no result: where a run lies, what is stale."""
    messages().print(Text(message, style=style), soft_wrap=True)


def refuse(message: str) -> None:
    """The one message of a command that ends without success."""
    messages().print(Text("error: ", style="bold red").append(Text(message, style="default not bold")), soft_wrap=True)


def plain_table(*columns: str) -> Table:
    """A table without frames, whose text is never read as markup by accident."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", highlight=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table

"""What a run says on the terminal while it works: a progress bar, lines, or nothing."""

from __future__ import annotations

import sys
import time
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Style = Literal["none", "lines", "rich"]


def best_style() -> Style:
    """A bar where somebody watches, lines where the output goes to a file."""
    return "rich" if sys.stderr.isatty() else "lines"


class Reporter:
    """Progress and notices of one piece of work, on standard error."""

    def __init__(self, style: Style):
        self.style: Style = style
        self.console = Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._title = ""
        self._last_line = 0.0

    def notice(self, text: str) -> None:
        """Something that the user should know, said once."""
        if self.style != "none":
            self.console.print(escape(text))

    def begin(self, title: str, *, done: int, total: int) -> None:
        self.end()
        self._title, self._total = title, total
        if self.style == "rich":
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}"),
            )
            self._bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self.console)
            self._task = self._bar.add_task(escape(title), total=total, completed=done, text="")
            self._bar.start()
        elif self.style == "lines":
            self.console.print(escape(f"{title}: {done}/{total}"))

    def advance(self, done: int, text: str = "") -> None:
        """``done`` of the total, and a word about how it goes. Lines come at most every ten seconds, and at the end."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, text=escape(text))
        elif self.style == "lines" and (done >= self._total or time.monotonic() - self._last_line > 10):
            self._last_line = time.monotonic()
            self.console.print(escape(f"{self._title}: {done}/{self._total}  {text}"))

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

"""metrics.csv: one line for each number, ``step,name,value``."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from typing import IO, Any, ClassVar

from experiments.files import write_atomically
from experiments.runs import Run

HEADER = "step,name,value\n"


class CSV:
    """metrics.csv in the run's folder; long rows, so that a new metric never changes the header."""

    version: ClassVar[int] = 1
    _file: IO[str]

    def open(self, run: Run, *, first_step: int) -> None:
        path = run.path / "metrics.csv"
        kept = []
        if path.is_file():
            with open(path, newline="") as lines:
                kept = [
                    row for row in csv.reader(lines) if len(row) == 3 and row[0].isdigit() and int(row[0]) <= first_step
                ]
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(kept)
        write_atomically(path, HEADER + text.getvalue())
        self._file = open(path, "a", newline="")  # noqa: SIM115 (open until close())

    def log(self, step: int, values: Mapping[str, float]) -> None:
        csv.writer(self._file, lineterminator="\n").writerows(
            (step, name, repr(float(v))) for name, v in values.items()
        )
        self._file.flush()

    def image(self, step: int, name: str, pixels: Any) -> None:
        """A table holds no pictures."""

    def flush(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def summary(self, run: Run, values: Mapping[str, float]) -> None:
        """The last rows and ``evaluations/`` hold it already."""

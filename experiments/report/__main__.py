"""``python -P -m experiments.report STUDY [--out FOLDER] [--quiet]``: write a study's report and print its table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from experiments.errors import Ended
from experiments.report import table, write_report


def main() -> int:
    parser = argparse.ArgumentParser(prog="experiments.report", description="Write the report of a study.")
    parser.add_argument("study", type=Path, help="a grid's folder, such as studies/quickstart")
    parser.add_argument("--out", type=Path, help="a second folder for the same files")
    parser.add_argument("--quiet", action="store_true", help="name the page, print no table")
    given = parser.parse_args()
    console = Console()
    try:
        report = write_report(given.study, out=given.out)
        if not given.quiet:
            console.print(table(given.study))
    except Ended as ended:
        Console(stderr=True).print(str(ended), style="red", markup=False)
        return ended.exit_code
    console.print(f"The report: {(given.out or report) / 'index.html'}", markup=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

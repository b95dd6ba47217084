"""The command line: ``fewstep …``. Importing it, ``--help``, ``list`` and ``grid status`` import no torch."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 2 wrong input, 3 a failed run, 75 to be resumed, 1 a fault of ours."""
    from experiments.cli.app import start

    raise SystemExit(start(arguments))

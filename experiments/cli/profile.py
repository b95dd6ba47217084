"""``fewstep profile``: where the time of a training step goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.console import output, plain_table, tell
from experiments.cli.train import ConfigFile

TOP = 15  # operators that are printed


def profile(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN] [KEY=VALUE]...", help="A run's folder, or what differs from the defaults."),
    ] = None,
    config: ConfigFile = None,
    steps: Annotated[int, typer.Option(metavar="N", min=1, help="Steps that are measured, and steps traced.")] = 10,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The trace; RUN/trace.json or trace.json.")] = None,
) -> None:
    """Train a few steps and say where their time goes: the parts of a step, the costliest operators, a Chrome trace.

    It trains from the start in a folder of its own; the run is left as it is. Look at the trace in ui.perfetto.dev.

    Examples: fewstep profile runs/NAME-HASH; fewstep profile backbone=DiT-S/2 data=mnist --steps 5
    """
    from rich.text import Text

    from experiments.config import read, resolve

    given = list(what or [])
    folder = Path(given.pop(0)) if given and "=" not in given[0] else None
    if folder is not None:
        from experiments.runs import Run

        config = Run.open(folder).config_file
    resolved = resolve(read(config, given))

    from experiments.other_runs import located, refuse
    from experiments.profiling import measure

    resolved = located(resolved, folder)
    refuse(resolved)

    found = measure(resolved, steps=steps, trace=out or (folder or Path()) / "trace.json")
    whole = sum(found.seconds.values())
    split = plain_table("part", "ms per step", "share")
    for part, seconds in [*found.seconds.items(), ("step", whole)]:
        split.add_row(Text(part), f"{1e3 * seconds:.2f}", f"{seconds / whole:.1%}")
    total = sum(operator.seconds for operator in found.operators)
    top = plain_table("operator", "calls per step", "own ms per step", "share")
    for operator in found.operators[:TOP]:
        own = f"{1e3 * operator.seconds / steps:.2f}"
        top.add_row(Text(operator.name), f"{operator.calls / steps:g}", own, f"{operator.seconds / total:.1%}")
    for table in (split, top):
        output().print(table)
        output().print()
    tell(f"trace {found.trace}")

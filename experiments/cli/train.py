"""``fewstep train`` and ``fewstep resume``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.console import tell

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="What differs from the file or the defaults: objective.k=0.25"),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="A YAML file or a shipped one's name; without one, the defaults."
    ),
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")]


def train(
    overrides: Overrides = None,
    config: ConfigFile = None,
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Where the run's folder is made.")] = Path("runs"),
) -> None:
    """Train a run to its end and evaluate it; the same configuration again resumes it, or says that it is done.

    Example: fewstep train objective="rf/lognorm(0,1)" backbone=DiT-S/2 data=digits trainer.max_steps=2000 seed=1
    """
    from experiments.config import read, resolve

    written = read(config, overrides or [])
    resolved = resolve(written)

    from experiments.other_runs import refuse
    from experiments.runs import Run
    from experiments.trackers.chosen import chosen

    chosen(resolved.trainer.trackers)  # refused before anything is written
    if not any(runs.glob(f"*-{resolved.hash}")):  # what is there already looks by itself, if it is not done
        refuse(resolved, runs / resolved.run_name, written=written)
    _execute(Run.create(resolved, runs))


def resume(run: RunFolder, overrides: Overrides = None) -> None:
    """Go on with a run. With overrides that make it another run, a child of it is made and trained."""
    from experiments import runs
    from experiments.config import read, resolve

    parent = runs.Run.open(run)
    if not overrides:
        return _execute(parent)
    changed = resolve(read(parent.config_file, overrides))
    if changed.hash != parent.config.hash:
        return _execute(runs.child(parent, changed))
    parent.configure(changed)
    return _execute(parent)


def _execute(run: object) -> None:
    from experiments.console import best_style
    from experiments.execute import execute
    from experiments.runs import Run

    assert isinstance(run, Run)
    tell(f"run {run.path}")
    code = execute(run, progress=best_style())
    if code:
        raise typer.Exit(code)

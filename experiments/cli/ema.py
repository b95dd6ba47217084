"""``fewstep ema``: another power profile of a run's weights, after the training."""

from __future__ import annotations

from typing import Annotated

import typer

from experiments.cli.console import tell
from experiments.cli.train import RunFolder


def ema(
    run: RunFolder,
    sigma_rel: Annotated[
        float, typer.Option("--sigma-rel", metavar="WIDTH", help="The profile's standard deviation over the training.")
    ],
    step: Annotated[
        int | None, typer.Option(metavar="N", help="A step of which there is a snapshot; the newest without.")
    ] = None,
) -> None:
    """Make an average of the weights that was not tracked, from the snapshots in the run's ema/ (EDM2's power EMA).

    Writes export/power-WIDTH@N.safetensors; sample and evaluate take it as --weights power-WIDTH@N.

    Example: fewstep ema runs/NAME-HASH --sigma-rel 0.12
    """
    from experiments.runs import Run
    from experiments.training.export import export
    from experiments.training.posthoc import reconstruct

    opened = Run.open(run)
    made = reconstruct(opened, sigma_rel, step)
    for notice in made.notices:
        tell(notice, style="yellow")
    print(export(opened, made.name, made.weights, made.step))
    widths = sorted({snapshot.sigma_rel for snapshot in made.coefficients})
    tell(
        f"from {len(made.coefficients)} snapshots of {', '.join(f'{width:g}' for width in widths)} up to step "
        f"{made.step}; the profile is met within {100 * made.discrepancy:.2g} % of its norm"
    )
    tell(f"fewstep evaluate {run} --weights {made.name}")

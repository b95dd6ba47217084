"""``fewstep pairs``: the pair set of a trained run, which reflow trains on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.console import tell
from experiments.cli.train import RunFolder


def pairs(
    run: RunFolder,
    num: Annotated[int, typer.Option(min=1, metavar="N", help="How many pairs.")] = 50_000,
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Solver steps.")] = 128,
    weights: Annotated[str, typer.Option(metavar="NAME", help="ema, raw, best, or an average: power-0.12.")] = "ema",
    solver: Annotated[
        str | None, typer.Option(metavar="SOLVER", help="Instead of the objective's own; a deterministic one.")
    ] = None,
    guidance: Annotated[float, typer.Option(min=0, metavar="W", help="Classifier-free guidance; 1 is none.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of noise and conditions.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The set's folder.", show_default="RUN/pairs")] = None,
    processes: Annotated[int, typer.Option(min=1, metavar="N", help="Processes, one thread or GPU each.")] = 1,
    shard: Annotated[int, typer.Option(min=1, metavar="N", help="Pairs that are drawn at once, in one file.")] = 1024,
) -> None:
    """Write pairs of noise and the samples that a run makes of it, for reflow to train on.

    Started again, it goes on where it was. The set is the same whatever the number of processes.

    Example: fewstep pairs runs/NAME-HASH --num 50000 --steps 128 --processes 4, then
    fewstep train objective=reflow data="pairs(runs/NAME-HASH/pairs)"
    """
    from experiments.runs import Run

    opened = Run.open(run)

    from experiments.console import Reporter, best_style
    from experiments.evaluation.loaded import LoadedRun
    from experiments.pairs.make import make_pairs
    from experiments.pairs.recipe import Recipe
    from experiments.stopping import Stop

    reporter = Reporter(best_style())
    loaded = LoadedRun(opened, reporter=reporter)
    if loaded.step < loaded.config.trainer.max_steps:
        tell(f"{run} is at step {loaded.step} of {loaded.config.trainer.max_steps}", style="yellow")
    recipe = Recipe.of(
        loaded, num=num, shard=shard, steps=steps, weights=weights, solver=solver, guidance=guidance, seed=seed
    )
    folder = out or opened.path / "pairs"
    with Stop().listening() as stop:
        made = make_pairs(loaded, folder, recipe, processes=processes, stop=stop, reporter=reporter)
    print(folder)
    tell(f"{len(made)} pairs, {made.digest}: fewstep train objective=reflow data='pairs({folder})'")

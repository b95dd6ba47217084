"""``fewstep pairs``: the pair set of a trained run, which reflow trains on."""

from __future__ import annotations

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
    shard: Annotated[int, typer.Option(min=1, metavar="N", help="Pairs that are drawn at once, in one file.")] = 1024,
    processes: Annotated[int, typer.Option(min=1, metavar="N", help="Processes, one thread or GPU each.")] = 1,
) -> None:
    """Make the pairs of noise and samples that `pairs=RUN` trains on, ahead of the training and on several processes.

    They lie in the run's folder; started again, it goes on where it was, and verifies what stands. The set is the same
    whatever the number of processes.

    Example: fewstep pairs runs/NAME-HASH --num 4096 --processes 4, then
    fewstep train objective=reflow data=digits pairs=runs/NAME-HASH pairs.num=4096
    """
    from experiments.runs import Run

    opened = Run.open(run)

    from experiments.config.faults import ConfigError, Fault
    from experiments.config.run_weights import RunPairs, read_run_weights
    from experiments.console import Reporter, best_style
    from experiments.evaluation.loaded import LoadedRun
    from experiments.pairs.folder import place
    from experiments.pairs.make import make_pairs
    from experiments.pairs.recipe import Recipe
    from experiments.stopping import Stop

    asked = {
        "num": num, "steps": steps, "weights": weights, "solver": solver, "guidance": guidance, "seed": seed,
        "shard": shard,
    }  # fmt: skip
    faults: list[Fault] = []
    wanted = read_run_weights({"run": str(run), **asked}, (), faults, RunPairs)
    if wanted is None:
        raise ConfigError(faults)
    reporter = Reporter(best_style())
    loaded = LoadedRun(opened, reporter=reporter)
    last = loaded.config.trainer.max_steps
    if loaded.step < last:
        tell(f"{run} is at step {loaded.step} of {last}: a training takes pairs of step {last}", style="yellow")
    recipe, folder = Recipe.of(loaded, wanted), place(opened, wanted, step=loaded.step)
    with Stop().listening() as stop:
        made = make_pairs(folder, lambda: (loaded, recipe), processes=processes, stop=stop, reporter=reporter)
    options = [f"pairs.{name}={value}" for name, value in asked.items() if value != getattr(RunPairs, name, "ema")]
    print(folder)
    tell(f"{len(made)} pairs, {made.digest}: fewstep train objective=reflow {' '.join([f'pairs={run}', *options])}")

"""``fewstep sample`` and ``fewstep evaluate``: what a trained run gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from experiments.cli.console import output, plain_table, tell
from experiments.cli.train import RunFolder

if TYPE_CHECKING:
    from experiments.config import Evaluation

Steps = Annotated[str | None, typer.Option(metavar="N,N,…", help="Solver steps; each gives a sheet or a row.")]
Guidance = Annotated[str | None, typer.Option(metavar="W", help="Classifier-free guidance; 1 is none.")]
Num = Annotated[str | None, typer.Option(metavar="N", help="How many samples.")]
Seed = Annotated[str | None, typer.Option(metavar="N", help="Seed of the noise.")]
Solver = Annotated[str | None, typer.Option(metavar="SOLVER", help="Instead of the objective's own solver.")]


def sample(
    run: RunFolder,
    steps: Steps = None,
    guidance: Guidance = None,
    num: Num = "64",
    weights: Annotated[str, typer.Option(metavar="NAME", help="ema, raw, best, or an average: power-0.12.")] = "ema",
    seed: Seed = None,
    solver: Solver = None,
) -> None:
    """Draw samples from a run: a PNG sheet and an .npz for each number of steps, in the run's samples/."""
    asked = {"steps": steps, "guidance": guidance, "num": num, "weights": weights, "seed": seed, "solver": solver}
    settings = _settings(run, asked)

    import experiments

    opened = experiments.load(run)
    for count in settings.steps:
        drawn = opened.sample(
            steps=count,
            num=settings.num,
            weights=settings.weights[0],
            guidance=settings.guidance,
            solver=settings.solver,
            seed=settings.seed,
            batch_size=settings.batch_size,
        )
        words = [settings.weights[0], f"steps{count}", f"w{settings.guidance:g}", f"seed{settings.seed}"]
        for file in opened.save_samples(drawn, "-".join([*words, *([settings.solver] if settings.solver else [])])):
            print(file)


def evaluate(
    run: RunFolder,
    steps: Steps = None,
    weights: Annotated[str | None, typer.Option(metavar="NAME,…", help="As of sample; several with commas.")] = None,
    num: Num = None,
    guidance: Guidance = None,
    solver: Solver = None,
) -> None:
    """Measure a run: distances to the training and the held-out split at each number of steps, and the loss."""
    asked = {"steps": steps, "weights": weights, "num": num, "guidance": guidance, "solver": solver}
    settings = _settings(run, asked)

    import experiments

    result = experiments.load(run).evaluate(
        steps=settings.steps,
        weights=settings.weights,
        num=settings.num,
        guidance=settings.guidance,
        solver=settings.solver,
    )
    output().print(_table(result["rows"]))
    for row in result["validation"]:
        tell(f"validation loss of the {row['weights']} weights: {row['mean']:.4g}")


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rows of an evaluation, without the columns that name settings or files."""
    columns = [name for name in rows[0] if name not in ("solver", "guidance", "num", "sheet")]
    table = plain_table(*columns)
    for row in rows:
        values = (row.get(name) for name in columns)
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in values))
    return table


def _settings(run: Path, asked: dict[str, Any]) -> Evaluation:
    """The run's own evaluation settings with what was asked on the command line, checked as a configuration is."""
    from experiments.config import read, resolve
    from experiments.runs import Run

    overrides = [f"evaluation.{name}={value}" for name, value in asked.items() if value is not None]
    return resolve(read(Run.open(run).config_file, overrides)).evaluation

"""``fewstep sample`` and ``fewstep evaluate``: what a trained run gives."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from experiments.cli.console import output, plain_table, tell
from experiments.cli.train import RunFolder
from experiments.errors import UserError

if TYPE_CHECKING:
    from experiments.config import Evaluation

Steps = Annotated[str | None, typer.Option(metavar="N,N,…", help="Solver steps; each gives a sheet or a row.")]
Guidance = Annotated[str | None, typer.Option(metavar="W", help="Classifier-free guidance; 1 is none.")]
Num = Annotated[str | None, typer.Option(metavar="N", help="How many samples.")]
Seed = Annotated[str | None, typer.Option(metavar="N", help="Seed of the noise.")]
Solver = Annotated[str | None, typer.Option(metavar="SOLVER", help="Instead of the objective's own solver.")]


Grid = Annotated[str | None, typer.Option(metavar="GRID", help="Times to sample at: uniform, karras, shifted(3), …")]
Interval = Annotated[str | None, typer.Option(metavar="LOW,HIGH", help="Path times between which to guide.")]
Rescale = Annotated[str | None, typer.Option(metavar="PHI", help="Guidance rescaling, 0 to 1.")]
Channels = Annotated[str | None, typer.Option("--guidance-channels", metavar="N", help="Guide the first N channels.")]
Dtype = Annotated[str | None, typer.Option(metavar="DTYPE", help="float32 or float64: arithmetic around the network.")]


def sample(
    run: RunFolder,
    steps: Steps = None,
    guidance: Guidance = None,
    num: Num = "64",
    weights: Annotated[str, typer.Option(metavar="NAME", help="ema, raw, best, or an average: power-0.12.")] = "ema",
    seed: Seed = None,
    solver: Solver = None,
    grid: Grid = None,
    interval: Interval = None,
    rescale: Rescale = None,
    channels: Channels = None,
    autoguide: Annotated[Path | None, typer.Option(metavar="RUN", help="A weaker run to guide away from.")] = None,
    dtype: Dtype = None,
    trajectory: Annotated[bool, typer.Option("--trajectory", help="Animate the way from noise, too (APNG).")] = False,
) -> None:
    """Draw samples from a run: a PNG sheet and an .npz for each number of steps, in the run's samples/."""
    asked = {"steps": steps, "num": num, "weights": weights, "seed": seed, "solver": solver, "grid": grid}
    asked |= {"guidance_interval": interval, "guidance_rescale": rescale, "guidance_channels": channels, "dtype": dtype}
    scale = None if autoguide is None else _number(guidance)
    settings = _settings(run, asked if autoguide is not None else {**asked, "guidance": guidance})

    import experiments
    from experiments.evaluation.evaluate import guidance as guidance_of
    from experiments.evaluation.sheets import sheet_caption
    from experiments.evaluation.trajectory import Trajectory

    if scale is not None:
        settings = replace(settings, guidance=scale)
    opened, weaker = experiments.load(run), None if autoguide is None else experiments.load(autoguide)
    for count in settings.steps:
        way = Trajectory(opened.objective.path, count) if trajectory else None
        drawn = opened.sample(
            steps=count,
            num=settings.num,
            weights=settings.weights[0],
            guidance=guidance_of(settings),
            solver=settings.solver,
            grid=settings.grid,
            autoguide=weaker,
            dtype=settings.dtype,
            seed=settings.seed,
            batch_size=settings.batch_size,
            watch=way and way.watch,
        )
        words = [settings.weights[0], f"steps{count}", f"w{settings.guidance:g}", f"seed{settings.seed}"]
        words += [settings.solver or "", settings.grid or "", f"from-{weaker.run.path.name}" if weaker else ""]
        words += [f"interval{interval}" if interval else "", f"rescale{rescale}" if rescale else "", dtype or ""]
        words += [f"channels{channels}" if channels else ""]
        name = re.sub(r"[^\w.=-]+", "_", "-".join(filter(None, words)))
        caption = sheet_caption(count, settings.weights[0], settings.guidance, settings.solver)
        files = [*opened.save_samples(drawn, name, caption=caption)]
        if way is not None:
            file = opened.run.path / "samples" / f"{name}-trajectory.png"
            opened.run.fence()
            files.append(way.save(file, opened.data, condition=drawn.condition, caption=caption))
        for file in files:
            print(file)


def evaluate(
    run: RunFolder,
    steps: Steps = None,
    weights: Annotated[str | None, typer.Option(metavar="NAME,…", help="As of sample; several with commas.")] = None,
    num: Num = None,
    guidance: Guidance = None,
    solver: Solver = None,
    grid: Grid = None,
    metrics: Annotated[str | None, typer.Option(metavar="NAME,…", help="As of fewstep list metrics.")] = None,
    interval: Interval = None,
    rescale: Rescale = None,
    channels: Channels = None,
    dtype: Dtype = None,
) -> None:
    """Measure a run: distances to the training and the held-out split at each number of steps, and the loss."""
    asked = {"steps": steps, "weights": weights, "num": num, "guidance": guidance, "solver": solver, "grid": grid}
    asked |= {"metrics": metrics, "guidance_interval": interval, "guidance_rescale": rescale, "dtype": dtype}
    settings = _settings(run, {**asked, "guidance_channels": channels})

    import experiments

    result = experiments.load(run).evaluate(
        steps=settings.steps,
        weights=settings.weights,
        num=settings.num,
        guidance=settings.guidance,
        solver=settings.solver,
        grid=settings.grid,
        metrics=settings.metrics,
        dtype=settings.dtype,
        guidance_interval=settings.guidance_interval,
        guidance_rescale=settings.guidance_rescale,
        guidance_channels=settings.guidance_channels,
    )
    output().print(_table(result["rows"]))
    for row in result["validation"]:
        tell(f"validation loss of the {row['weights']} weights: {row['mean']:.4g}")
        for name in row:
            if name not in ("weights", "times", "loss", "mean"):
                tell(f"  {name.replace('_', ' ')} {row[name]:.4g}")


def likelihood(
    run: RunFolder,
    num: Annotated[int, typer.Option(min=1, metavar="N", help="How many held-out samples.")] = 256,
    weights: Annotated[str, typer.Option(metavar="NAME", help="As of sample.")] = "ema",
    probes: Annotated[int, typer.Option(min=0, metavar="N", help="Hutchinson's probes; 0: the exact divergence.")] = 1,
    bin_width: Annotated[
        float, typer.Option(help="Width of a quantisation cell; 1: bits of the density itself.")
    ] = 1.0,
) -> None:
    """Log-likelihood of held-out samples under the exact flow, in nats and in bits per dimension."""
    import torch

    import experiments
    from objectives.likelihood import bits_per_dimension

    opened = experiments.load(run)
    rows = opened.data.dataset("validation")
    batch = rows[torch.arange(min(num, len(rows)))]
    nats = opened.log_likelihood(batch["x"], batch.get("condition"), weights=weights, probes=probes)
    bits = bits_per_dimension(nats, batch["x"][0].numel(), bin_width=bin_width)
    error = float(bits.std()) / len(bits) ** 0.5
    output().print(
        f"{float(nats.mean()):.4f} nats, {float(bits.mean()):.4f} ± {error:.4f} bits per dimension ({len(bits)})"
    )


def _number(text: str | None) -> float:
    """A guidance scale that the configuration does not see."""
    try:
        return float("" if text is None else text)
    except ValueError:
        raise UserError(f"--autoguide needs --guidance W, a number; given {text!r}") from None


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

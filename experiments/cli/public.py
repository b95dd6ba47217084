"""``fewstep import`` and ``fewstep export``: public checkpoints to runs, and runs to files that others' code reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.console import tell
from experiments.cli.train import Overrides, RunFolder

LAYOUTS = "dit, sit, uvit, sd3, diffusers-dit or diffusers-sd3."
As = Annotated[str, typer.Option("--as", metavar="LAYOUT", help=LAYOUTS)]


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Weights, an index of shards, or a folder with one.")],
    layout: As,
    overrides: Overrides = None,
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Where the run's folder is made.")] = Path("runs"),
) -> None:
    """Make a run of a public checkpoint: it samples, and training goes on from it.

    Sizes that the file does not tell are given as KEY=VALUE: backbone.heads=6 data.shape=4,32,32

    Example: fewstep import DiT-XL-2-256x256.pt --as dit
    """
    from experiments.public.importing import import_weights

    made = import_weights(file, layout, overrides=overrides or (), root=runs)
    for notice in made.notices:
        tell(notice)
    print(made.run.path)


def export(
    run: RunFolder,
    layout: As,
    weights: Annotated[str, typer.Option(metavar="NAME", help="ema, raw, best, or an average: power-0.12.")] = "ema",
    out: Annotated[Path | None, typer.Option(metavar="PATH", help="The file; for diffusers the folder.")] = None,
    dtype: Annotated[str, typer.Option(metavar="DTYPE", help="float32, float16 or bfloat16.")] = "float32",
    shard: Annotated[float | None, typer.Option(metavar="GB", min=1e-9, help="Largest size of a file.")] = None,
    anyhow: Annotated[bool, typer.Option("--anyhow", help="Also where that code computes something else.")] = False,
) -> None:
    """Write a run's weights as safetensors that the original code or diffusers loads.

    Example: fewstep export runs/NAME-HASH --as diffusers-dit
    """
    from experiments.public.exporting import export_weights
    from experiments.runs import Run

    size = None if shard is None else round(shard * 1e9)
    opened = Run.open(run)
    print(export_weights(opened, layout, weights=weights, out=out, dtype=dtype, shard=size, anyhow=anyhow))

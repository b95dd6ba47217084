"""What a finished run came to, and handing it to the trackers."""

from __future__ import annotations

import math

from experiments.files import read_json
from experiments.runs import Run, evaluation_key
from experiments.trackers.chosen import chosen

SETTINGS = ("steps", "nfe", "guidance", "num")
"""Numbers of an evaluation's row that were asked for, not measured."""


def final_values(run: Run) -> dict[str, float]:
    """The last training and validation losses, and the evaluation that the run's configuration asks for.

    Names: "loss", "validation/loss_ema", "frechet_distance/ema-4" (weights and solver steps). What is not finite is
    left out: a table cannot sort by it.
    """
    found: dict[str, float] = {}
    for _, name, value in run.metrics():
        if name == "train/loss" or name.startswith("validation/loss_"):
            found[name.removeprefix("train/")] = value
    asked = run.path / "evaluations" / f"{evaluation_key(run.config.evaluation)}.json"
    evaluation = read_json(asked) or {"rows": [], "validation": []}
    for row in evaluation["rows"]:
        for name, value in row.items():
            if isinstance(value, (int, float)) and name not in SETTINGS:
                found[f"{name}/{row['weights']}-{row['steps']}"] = float(value)
    for row in evaluation["validation"]:
        found[f"validation/loss_{row['weights']}"] = row["mean"]
    return {name: value for name, value in found.items() if math.isfinite(value)}


def summarise(run: Run) -> None:
    """Give every tracker of ``run`` what it came to, once it is trained and evaluated.

    Raises:
        UserError: as :func:`chosen`.
    """
    values = final_values(run)
    for tracker in chosen(run.config.trainer.trackers):
        run.fence()
        tracker.summary(run, values)

"""The long table: one row for each cell × evaluation × weights × steps, and at least one for each cell."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from experiments.report.read import Cell, Study

METRICS = (
    "frechet_distance",
    "frechet_distance_heldout",
    "kernel_distance",
    "kernel_distance_heldout",
    "precision",
    "recall",
    "memorisation",
)
MEASURED = ("validation_loss", "seconds_per_image")
COLUMNS = (
    "objective",
    "backbone",
    "data",
    "variant",
    "seed",
    "weights",
    "steps",
    "nfe",
    "solver",
    "guidance",
    *METRICS,
    *MEASURED,
    "num",
    "parameters",
    "training_flops",
    "state",
    "evaluation",
    "run",
)
_COUNTS = {"steps", "nfe", "num", "parameters"}
# What decides neither a number nor which numbers may stand beside one another.
_NO_SETTING = {"steps", "weights", "metrics", "batch_size"}

Row = dict[str, Any]


class Rows(list[Row]):
    """The rows of a study, and the questions that its tables ask of them.

    A row holds COLUMNS and any further metric of the evaluation. Its ``setting`` (no column) names the weights and
    those evaluation settings in which the study's evaluations differ: only rows of one setting are compared.
    ``of_model`` names the metrics of which a model has one number, however many steps it is sampled in.
    """

    of_model: frozenset[str] = frozenset()

    @cached_property
    def settings(self) -> list[str]:
        """Settings in the order in which they first appear: averaged weights before raw ones."""
        found = dict.fromkeys(row["setting"] for row in self if row["setting"] is not None)
        return sorted(found, key=lambda setting: setting.startswith("raw"))

    @cached_property
    def metrics(self) -> list[str]:
        """What some row has a value of: METRICS, then those of other plugins, then MEASURED."""
        further = sorted({key for row in self for key in row} - {*COLUMNS, "setting", "sheet", "cell"})
        return [name for name in (*METRICS, *further, *MEASURED) if any(row.get(name) is not None for row in self)]

    @property
    def headline(self) -> list[str]:
        """The distance that stands first, and the same to the held-out split, as far as there are any."""
        distances = [name for name in self.metrics if "distance" in name]
        return [name for name in distances if name.removesuffix("_heldout") == distances[0]]

    def steps(self, setting: str | None = None) -> list[int]:
        """The numbers of solver steps that were evaluated, rising."""
        chosen = self._steps.values() if setting is None else [self._steps.get(setting, ())]
        return sorted({n for steps in chosen for n in steps})

    @cached_property
    def _steps(self) -> dict[str, set[int]]:
        found: dict[str, set[int]] = {}
        for row in self:
            if row["setting"] is not None and row["steps"] is not None:
                found.setdefault(row["setting"], set()).add(row["steps"])
        return found

    def value(self, cell: Cell, setting: str, steps: int, metric: str) -> float | None:
        """The newest value of one cell; None where there is none."""
        found = [row for row in self.of(cell, setting, steps) if row.get(metric) is not None]
        return found[-1][metric] if found else None

    def of(self, cell: Cell, setting: str, steps: int) -> list[Row]:
        """The rows of one cell at one setting and number of steps, the oldest first."""
        return self._index.get((cell, setting, steps), [])

    @cached_property
    def _index(self) -> dict[tuple[Cell, str, int], list[Row]]:
        index: dict[tuple[Cell, str, int], list[Row]] = {}
        for row in self:
            index.setdefault((row["cell"], row["setting"], row["steps"]), []).append(row)
        return index


def rows(study: Study) -> Rows:
    """Every number of the study; a cell that was not evaluated has one row without numbers."""
    differing = {data: _differing(study, data) for data in {cell.labels["data"] for cell in study.cells}}
    found = Rows()
    for cell in study.cells:
        evaluated = list(_evaluated(cell, differing[cell.labels["data"]]))
        found += evaluated or [{**_head(cell), "setting": None}]
    every = (entry for cell in study.cells for value in cell.evaluations for entry in value.get("validation") or ())
    found.of_model = frozenset(name for entry in every for name in _of_model(entry))
    return found


def to_csv(table: Rows) -> str:
    """The rows as CSV with a header; nothing stands for None, "nan" for a number that is none."""
    further = [name for name in table.metrics if name not in COLUMNS]
    text = io.StringIO()
    writer = csv.DictWriter(text, (*COLUMNS, *further), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def _head(cell: Cell) -> Row:
    objective, backbone, data, variant = cell.row
    row: Row = dict.fromkeys(COLUMNS)
    known = {"objective": objective, "backbone": backbone, "data": data, "variant": variant, "seed": cell.seed}
    return {**row, **known, "state": cell.state, "run": cell.path.name if cell.path else None, "cell": cell}


def _evaluated(cell: Cell, differing: set[str]) -> Iterator[Row]:
    for evaluation in cell.evaluations:
        settings = evaluation.get("settings") or {}
        models = {entry["weights"]: _of_model(entry) for entry in evaluation.get("validation") or ()}
        model = {key: (evaluation.get("model") or {}).get(key) for key in ("parameters", "training_flops")}
        apart = " ".join(f"{key}={json.dumps(settings.get(key))}" for key in sorted(differing))
        for given in evaluation.get("rows") or ():
            row = {**_head(cell), **model, **models.get(given.get("weights"), {}), **given}
            row = {key: value if key in _COUNTS else _number(value) for key, value in row.items()}
            setting = " ".join(filter(None, (str(given.get("weights")), apart)))
            yield {**row, "evaluation": evaluation["key"], "setting": setting}


def _of_model(validation: dict[str, Any]) -> Row:
    """What is known of a model's weights however it is sampled: the validation loss and metrics of the model."""
    further = {key: value for key, value in validation.items() if key not in ("weights", "times", "loss", "mean")}
    return {"validation_loss": validation.get("mean"), **further}


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, float) or value in ("nan", "inf", "-inf") else value


def _differing(study: Study, data: str) -> set[str]:
    """The evaluation settings that are not the same for all cells of one data set, and have to be told apart."""
    cells = [cell for cell in study.cells if cell.labels["data"] == data]
    every = [evaluation.get("settings") or {} for cell in cells for evaluation in cell.evaluations]
    keys = {key for settings in every for key in settings} - _NO_SETTING
    return {key for key in keys if len({json.dumps(settings.get(key), sort_keys=True) for settings in every}) > 1}


def finite(value: float | None) -> bool:
    """Whether there is a value and it is a number."""
    return value is not None and math.isfinite(value)

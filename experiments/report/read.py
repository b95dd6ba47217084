"""What a study's folder holds, read without torch and without ever dropping a cell."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.errors import UserError
from experiments.files import read_json
from experiments.grid import study as grids
from experiments.grid.states import STATES
from experiments.runs import Run

FACTORS = ("objective", "backbone", "data")


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell of the grid and whatever its run has given so far.

    ``labels`` are objective, backbone and data as one reads them in a table; ``overrides`` is the difference to the
    grid's base configuration, ``config`` the resolved whole, as plain data; ``path`` is None while there is no run.
    ``code`` is the version of the code that it ran with.
    ``variant`` tells apart what objective, backbone, data and seed do not: "optimizer.lr=0.001".
    """

    name: str
    labels: dict[str, str]
    seed: int | None
    state: str
    overrides: dict[str, Any]
    config: dict[str, Any]
    path: Path | None
    step: int = 0
    max_steps: int | None = None
    message: str | None = None
    variant: str = ""
    code: str | None = None

    @cached_property
    def attempts(self) -> list[dict[str, Any]]:
        """What the manifest says of each start of the run, the first start first."""
        value = read_json(self.path / "manifest.json") if self.path else None
        return list(value.get("attempts", ())) if isinstance(value, dict) else []

    @property
    def heartbeat(self) -> float | None:
        """When the run last wrote its status, in seconds since the epoch."""
        return Run(self.path).status.get("heartbeat") if self.path else None

    @cached_property
    def evaluations(self) -> list[dict[str, Any]]:
        """Every evaluation, the oldest first; each also under its file's stem as ``"key"``."""
        if self.path is None:
            return []
        files = sorted((self.path / "evaluations").glob("*.json"), key=lambda file: (file.stat().st_mtime, file.name))
        return [{**value, "key": file.stem} for file in files if isinstance(value := read_json(file), dict)]

    @cached_property
    def metrics(self) -> dict[str, list[tuple[int, float]]]:
        """name -> (step, value) by step; of a step that was logged twice (before and after a resume) the last."""
        series: dict[str, dict[int, float]] = {}
        with contextlib.suppress(ValueError):  # the last number of a run that goes on may be half written
            for step, name, value in Run(self.path).metrics() if self.path else ():
                series.setdefault(name, {})[step] = value
        return {name: sorted(values.items()) for name, values in series.items()}

    @property
    def series(self) -> str:
        """Objective and variant: what is drawn as one line beside others."""
        return " ".join(filter(None, (self.labels["objective"], self.variant)))

    @property
    def row(self) -> tuple[str, str, str, str]:
        """What its seeds have in common: objective, backbone, data, variant."""
        return self.labels["objective"], self.labels["backbone"], self.labels["data"], self.variant


@dataclass(frozen=True)
class Study:
    """A grid's folder: its name and its cells, in the order of the plan.

    ``others`` are runs beside them that the plan does not name (any more); ``faults`` is what could not be read.
    """

    path: Path
    name: str
    cells: tuple[Cell, ...]
    others: tuple[Path, ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def states(self) -> dict[str, int]:
        """How many cells are in each state, in the order in which states follow one another."""
        order = ("done", *(name for name in STATES if name != "done"))
        found = [cell.state for cell in self.cells]
        return {name: found.count(name) for name in order if name in found}


def read(path: Path) -> Study:
    """The study in ``path``: the cells of its plan, or where there is no plan the runs that are found.

    Raises:
        UserError: there is neither a ``cells.json`` nor a ``runs`` folder.
    """
    path = Path(path)
    grid, runs = grids.Study(path), path / "runs"
    if not (path / "cells.json").is_file() and not runs.is_dir():
        raise UserError(f"{path} is no study: it has neither cells.json nor runs/. `fewstep grid run` makes one.")
    folders = [folder for folder in sorted(runs.glob("*")) if (folder / "config.yaml").is_file()]
    faults: list[str] = []
    if grid.plan is None:
        faults.append("cells.json is missing or of another format: the cells below are the runs that were found.")
        return Study(
            path, path.resolve().name, _told_apart([_found(folder, faults) for folder in folders]), (), tuple(faults)
        )
    cells = _told_apart([_planned(grid, cell, state, faults) for cell, state in grid.states()])
    named = {cell.run for cell in grid.cells}
    faults += [
        f"{file.relative_to(path)} is not JSON."
        for file in sorted((*runs.glob("*/*.json"), *runs.glob("*/evaluations/*.json")))
        if read_json(file) is None
    ]
    others = tuple(folder for folder in folders if folder.name not in named)
    return Study(path, str(grid.plan.get("name", path.resolve().name)), cells, others, tuple(faults))


def call(value: Any) -> str:
    """A plugin as one writes it, {"name": "shortcut", "k": 0.5} is "shortcut(k=0.5)"; a cell's teacher by its stage."""
    if isinstance(value, Mapping) and {"name", "hash"} <= value.keys():  # another run: not the same in each seed
        name = value.get("stage") or Path(value["name"]).name
        return str(name) if value.get("weights", "ema") == "ema" else f"{name}({value['weights']})"
    if isinstance(value, Mapping):
        rest = ", ".join(f"{key}={call(given)}" for key, given in value.items() if key != "name")
        name = str(value.get("name", ""))
        return f"{name}({rest})" if rest else name
    return plain(value)


def plain(value: Any) -> str:
    """A configuration value in one line: text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _planned(grid: grids.Study, cell: grids.Cell, state: grids.CellState, faults: list[str]) -> Cell:
    folder = grid.run(cell).path
    there = (folder / "config.yaml").is_file()
    return Cell(
        cell.name,
        {"objective": cell.objective, "backbone": cell.backbone, "data": cell.data},
        cell.seed,
        state.state,
        cell.overrides,
        _config(folder, faults) if there else {},
        folder if there else None,
        state.step,
        cell.max_steps,
        state.message,
        code=state.code,
    )


def _found(folder: Path, faults: list[str]) -> Cell:
    run, config = Run(folder), _config(folder, faults)
    status = run.status
    state = "done" if run.done is not None else str(status.get("state"))
    labels = {factor: call(config.get(factor, "?")) for factor in FACTORS}
    known = {"step": status.get("step", 0), "max_steps": status.get("max_steps"), "message": status.get("message")}
    return Cell(folder.name, labels, config.get("seed"), state, {}, config, folder, **known)


def _told_apart(cells: list[Cell]) -> tuple[Cell, ...]:
    """The cells with variants: the overrides that no label and no seed shows, or names where that is not enough."""
    texts = {factor: {(cell.labels[factor], plain(cell.overrides.get(factor))) for cell in cells} for factor in FACTORS}
    shown = {factor for factor in FACTORS if len(texts[factor]) > len({label for label, _ in texts[factor]})}
    hidden = {"seed", *FACTORS} - shown
    variants = [
        " ".join(f"{key}={call(value)}" for key, value in cell.overrides.items() if key not in hidden) for cell in cells
    ]
    named = [replace(cell, variant=variant) for cell, variant in zip(cells, variants, strict=True)]
    count = Counter((*cell.row, cell.seed) for cell in named)
    return tuple(replace(cell, variant=cell.name) if count[(*cell.row, cell.seed)] > 1 else cell for cell in named)


def _config(folder: Path, faults: list[str]) -> dict[str, Any]:
    import yaml

    try:
        value = yaml.safe_load((folder / "config.yaml").read_text())
    except (OSError, yaml.YAMLError) as fault:
        faults.append(f"{folder.name}/config.yaml cannot be read: {type(fault).__name__}")
        return {}
    return value if isinstance(value, dict) else {}

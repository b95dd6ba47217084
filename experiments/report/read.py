"""What a study's folder holds, read without torch and without ever dropping a cell."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.errors import UserError
from experiments.files import read_json
from experiments.grid import study as grids
from experiments.runs import Run

FACTORS = ("objective", "backbone", "data")


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell of the grid and whatever its run has given so far.

    ``overrides`` is the difference to the grid's base configuration, ``config`` the resolved whole, as plain data;
    ``path`` is None while there is no run. ``planned`` is False for a run that the plan does not name.
    """

    name: str
    state: str
    overrides: dict[str, Any]
    config: dict[str, Any]
    path: Path | None
    step: int = 0
    max_steps: int | None = None
    message: str | None = None
    planned: bool = True

    @cached_property
    def done(self) -> dict[str, Any]:
        return self._mapping("done.json")

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return self._mapping("manifest.json")

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

    @cached_property
    def labels(self) -> dict[str, str]:
        """objective, backbone and data as one reads them in a table."""
        return {factor: self._label(factor) for factor in FACTORS}

    @property
    def variant(self) -> str:
        """The overrides besides objective, backbone, data and seed: "optimizer.lr=0.001 trainer.max_steps=500"."""
        rest = {key: value for key, value in self.overrides.items() if key not in (*FACTORS, "seed")}
        return " ".join(f"{key}={plain(value)}" for key, value in rest.items())

    @property
    def seed(self) -> int | None:
        return self.overrides.get("seed", self.config.get("seed"))

    @property
    def series(self) -> str:
        """Objective and variant: what is drawn as one line beside others."""
        return " ".join(filter(None, (self.labels["objective"], self.variant)))

    @property
    def row(self) -> tuple[str, str, str, str]:
        """What its seeds have in common: objective, backbone, data, variant."""
        return self.labels["objective"], self.labels["backbone"], self.labels["data"], self.variant

    def _label(self, factor: str) -> str:
        chosen = self.overrides.get(factor, self.config.get(factor))
        return "?" if chosen is None else call(chosen)

    def _mapping(self, name: str) -> dict[str, Any]:
        value = read_json(self.path / name) if self.path else None
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class Study:
    """A grid's folder: its name and its cells, in the order of the plan."""

    path: Path
    name: str
    cells: tuple[Cell, ...]
    faults: tuple[str, ...] = field(default=())

    @property
    def states(self) -> dict[str, int]:
        """How many cells are in each state, in the order in which states follow one another."""
        order = ("done", "running", "interrupted", "failed", "pending")
        found = [cell.state for cell in self.cells]
        names = [*order, *sorted(set(found) - set(order))]
        return {name: found.count(name) for name in names if name in found}


def read(path: Path) -> Study:
    """The study in ``path``: every cell of its plan, then every run in ``runs/`` that no cell names.

    What is there but cannot be read is named in ``faults``.

    Raises:
        UserError: there is neither a ``cells.json`` nor a ``runs`` folder.
    """
    path = Path(path)
    grid, runs = grids.Study(path), path / "runs"
    if not (path / "cells.json").is_file() and not runs.is_dir():
        raise UserError(f"{path} is no study: it has neither cells.json nor runs/. `fewstep grid run` makes one.")
    faults = [] if grid.plan else ["cells.json is missing or cannot be read; the cells are the runs that were found"]
    planned = [(cell, grid.state(cell)) for cell in grid.cells] if grid.plan else []
    cells = [_planned(grid, cell, state, faults) for cell, state in planned]
    cells = [_with_base(cell, cells) for cell in cells]
    named = {cell.run for cell, _ in planned}
    others = [
        folder for folder in sorted(runs.glob("*")) if (folder / "config.yaml").is_file() and folder.name not in named
    ]
    cells += [_unplanned(folder, faults, planned=not grid.plan) for folder in others]
    faults += [
        f"{file.relative_to(path)} is not JSON"
        for file in sorted((*runs.glob("*/*.json"), *runs.glob("*/evaluations/*.json")))
        if read_json(file) is None
    ]
    name = (grid.plan or {}).get("name") or path.resolve().name
    return Study(path, str(name), tuple(cells), tuple(faults))


def call(value: Any) -> str:
    """A plugin as one writes it: {"name": "shortcut", "k": 0.5} is "shortcut(k=0.5)"."""
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
    config = _config(folder, faults) if there else {}
    overrides = {"seed": cell.seed, **cell.overrides}
    path = folder if there else None
    return Cell(cell.name, state.state, overrides, config, path, state.step, cell.max_steps, state.message)


def _with_base(cell: Cell, cells: list[Cell]) -> Cell:
    """A cell that was not started, with the base's factors, read off a started cell that does not override them."""
    if cell.config:
        return cell
    started = [other for other in cells if other.config]
    sources = {f: next((o for o in started if f not in o.overrides), None) for f in FACTORS if f not in cell.overrides}
    return replace(cell, config={factor: source.config.get(factor) for factor, source in sources.items() if source})


def _unplanned(folder: Path, faults: list[str], *, planned: bool) -> Cell:
    run = Run(folder)
    status = {**run.status, "state": "done"} if run.done is not None else run.status
    known = {"step": status.get("step", 0), "max_steps": status.get("max_steps"), "message": status.get("message")}
    return Cell(folder.name, str(status.get("state")), {}, _config(folder, faults), folder, planned=planned, **known)


def _config(folder: Path, faults: list[str]) -> dict[str, Any]:
    import yaml

    try:
        value = yaml.safe_load((folder / "config.yaml").read_text())
    except (OSError, yaml.YAMLError) as fault:
        faults.append(f"{folder.name}/config.yaml cannot be read: {type(fault).__name__}")
        return {}
    return value if isinstance(value, dict) else {}

"""Grids on pair sets: a plan holds as long as the sets that it was made for are where they were."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.grid import planning
from experiments.grid.language import read_grid
from experiments.grid.planning import configure, prepare
from experiments.grid.study import Study

GRID = """
name: reflow
base: {{backbone: mlp, objective: {{name: flow_matching, coupling: given_pairs}}}}
product: {{data: ["pairs({0})", "pairs({1})"]}}
seeds: [0, 1]
"""


def test_a_plan_is_made_anew_when_another_set_is_where_one_was(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "code_fingerprint", lambda: "some code")
    first, second = write("first"), write("second", seed=1)
    (tmp_path / "grid.yaml").write_text(GRID.format(first, second))
    study = Study(tmp_path / "study")

    def planned() -> set[str]:
        prepare(read_grid(tmp_path / "grid.yaml"), study)
        assert study.plan is not None
        assert all(configure(study.plan["base"], cell.overrides).hash == cell.hash for cell in study.cells)
        return {cell.hash for cell in study.cells}

    before = planned()
    assert len(before) == 4
    made = (study.path / "cells.json").stat().st_mtime_ns
    assert planned() == before
    assert (study.path / "cells.json").stat().st_mtime_ns == made
    shutil.rmtree(second)
    write("second", seed=2)
    after = planned()
    assert len(after) == 4
    assert len(after & before) == 2

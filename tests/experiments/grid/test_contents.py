"""Grids on data in files: a plan holds as long as these hold what they held."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.grid import planning
from experiments.grid.language import read_grid
from experiments.grid.planning import configure, prepare
from experiments.grid.study import Study

GRID = """
name: files
base: {{backbone: mlp}}
product: {{data: ["filed({0})", "filed({1})"]}}
seeds: [0, 1]
"""


@pytest.mark.usefixtures("taught")
def test_a_plan_is_made_anew_when_something_else_is_where_data_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "code_fingerprint", lambda: "some code")
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("0")
    second.write_text("1")
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
    second.write_text("2")
    after = planned()
    assert len(after) == 4
    assert len(after & before) == 2

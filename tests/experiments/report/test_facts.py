from __future__ import annotations

import json
from typing import Any

import pytest

from experiments import code
from experiments.report.facts import facts
from experiments.report.read import read


def test_states_times_and_versions_are_told(study: Any, made: Any) -> None:
    found = facts(read(study(made(), made("shortcut", state="failed"))))
    assert found["cells"] == "2 (1 done, 1 failed)"
    assert found["first started"] == "2026-01-02 03:04 UTC"
    assert found["last written"] == "2026-01-02 03:00 UTC"
    assert found["versions"] == "torch 2.13.0"
    assert found["device"] == "cpu, 2 cores"
    assert "command" not in found


def test_training_time_is_the_sum_over_the_logged_steps(study: Any, made: Any) -> None:
    # 1000 and 400 steps at 50 steps/s.
    found = facts(read(study(made(), made("shortcut", state="failed"))))
    assert found["training time"] == f"{28 / 60:.1f} min, the sum over 2 cells"


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_what_nobody_recorded_is_left_out(study: Any, made: Any, content: str) -> None:
    folder = study(made(), made("shortcut"))
    for run in (folder / "runs").iterdir():
        (run / "manifest.json").write_text(content)
        (run / "metrics.csv").unlink()
    assert list(facts(read(folder))) == ["cells", "last written"]


def test_a_change_of_code_since_cells_ran_is_told(study: Any, made: Any) -> None:
    folder = study(made(), made("shortcut"))
    for cell, version in ((made(), code.version()), (made("shortcut"), "another")):
        file = folder / "runs" / cell.run / "done.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "code": version}))
    assert facts(read(folder))["code"].startswith("changed since 1 of 2 cells ran")


def test_values_that_differ_are_listed(study: Any, made: Any) -> None:
    folder = study(made(), made("shortcut"))
    manifest = folder / "runs" / made().run / "manifest.json"
    value = json.loads(manifest.read_text())
    value["attempts"].append({**value["attempts"][0], "device": "another"})
    manifest.write_text(json.dumps(value))
    assert facts(read(folder))["device"] == "another; cpu, 2 cores"


def test_a_grid_without_cells(study: Any) -> None:
    assert facts(read(study())) == {"cells": "none"}

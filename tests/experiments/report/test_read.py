from __future__ import annotations

from typing import Any

import pytest

from experiments.errors import UserError
from experiments.report.read import call, read


def test_cells_keep_the_order_of_the_plan_and_their_states(study: Any, made: Any) -> None:
    cells = [made(state="failed", message="boom"), made("shortcut"), made("edm", state="pending")]
    found = read(study(*cells))
    assert [cell.labels["objective"] for cell in found.cells] == ["rf", "shortcut", "edm"]
    assert found.states == {"done": 1, "failed": 1, "pending": 1}
    assert found.cells[0].message == "boom"
    assert found.cells[2].path is None


def test_seeds_share_a_row_and_other_overrides_do_not(study: Any, made: Any) -> None:
    low, high = (("optimizer.lr", 0.001),), (("optimizer.lr", 0.002),)
    found = read(study(made(seed=0, overrides=low), made(seed=1, overrides=low), made(seed=0, overrides=high)))
    assert [cell.variant for cell in found.cells] == ["optimizer.lr=0.001"] * 2 + ["optimizer.lr=0.002"]
    assert len({cell.row for cell in found.cells}) == 2


def test_cells_that_no_override_tells_apart_are_not_taken_for_seeds(study: Any, made: Any) -> None:
    one = made(overrides=(("objective", {"name": "shortcut", "k": 0.25}),))
    two = made(overrides=(("objective", {"name": "shortcut", "k": 0.5}),))
    found = read(study(one, two))
    assert [cell.variant for cell in found.cells] == [
        "objective=shortcut(k=0.25)",
        "objective=shortcut(k=0.5)",
    ]


def test_runs_without_a_plan_that_look_alike_are_told_apart_by_name(study: Any, made: Any) -> None:
    folder = study(made(overrides=(("optimizer.lr", 0.1),)), made(overrides=(("optimizer.lr", 0.2),)))
    (folder / "cells.json").unlink()
    assert {cell.variant for cell in read(folder).cells} == {run.name for run in (folder / "runs").iterdir()}


def test_a_run_that_the_plan_does_not_name_is_named_apart(study: Any, made: Any) -> None:
    folder = study(made())
    stray = folder / "runs" / "old-run-000000000000"
    stray.mkdir()
    (stray / "config.yaml").write_text("seed: 3\n")
    found = read(folder)
    assert len(found.cells) == 1
    assert found.others == (stray,)


def test_without_a_plan_the_runs_are_the_cells(study: Any, made: Any) -> None:
    folder = study(made(), made("shortcut", state="failed"))
    (folder / "cells.json").write_text("{")
    found = read(folder)
    assert found.states == {"done": 1, "failed": 1}
    assert sorted(cell.labels["objective"] for cell in found.cells) == ["rf", "shortcut"]
    assert "cells.json" in found.faults[0]


def test_what_cannot_be_read_is_named(study: Any, made: Any, evaluation_file: Any) -> None:
    folder = study(made(), made("shortcut"))
    evaluation_file(folder, made()).write_text('{"rows": [')
    (folder / "runs" / made("shortcut").run / "config.yaml").write_text("a: [")
    faults = " ".join(read(folder).faults)
    assert f"runs/{made().run}/evaluations" in faults
    assert f"{made('shortcut').run}/config.yaml" in faults


def test_the_last_of_two_values_at_one_step_and_a_half_written_one(study: Any, made: Any) -> None:
    folder = study(made())
    file = folder / "runs" / made().run / "metrics.csv"
    file.write_text("step,name,value\n50,train/loss,1.0\n50,train/loss,2.0\n100,train/loss,1.5\n150,train/loss,1.2e-")
    (cell,) = read(folder).cells
    assert cell.metrics["train/loss"] == [(50, 2.0), (100, 1.5)]


def test_a_folder_that_is_no_study_is_the_users_fault(tmp_path: Any) -> None:
    with pytest.raises(UserError, match="no study"):
        read(tmp_path)


def test_a_plugin_is_written_as_one_calls_it() -> None:
    nested = {"name": "shortcut", "flow": {"name": "rf"}, "k": 0.25}
    assert call(nested) == "shortcut(flow=rf, k=0.25)"
    assert call("dit") == "dit"


def test_students_of_different_seeds_share_a_row_though_their_teachers_differ(study: Any, made: Any) -> None:
    def taught(seed: int, **more: Any) -> Any:
        teacher = {"name": f"../rf-{seed:012d}", "weights": "ema", "hash": f"{seed:012d}", "stage": "teachers", **more}
        return made(seed=seed, overrides=(("teacher", teacher),))

    found = read(study(taught(0), taught(1), taught(0, weights="raw")))
    assert [cell.variant for cell in found.cells] == ["teacher=teachers"] * 2 + ["teacher=teachers(raw)"]
    assert len({cell.row for cell in found.cells}) == 2
    assert call({"name": "/far/rf-0123456789ab", "weights": "ema", "hash": "0123456789ab"}) == "rf-0123456789ab"

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.bench import scale


def test_no_cell_is_lost_or_run_twice_and_one_costs_little(tmp_path: Path) -> None:
    found = scale.measure(tmp_path / "study", cells=200, workers=40, sleep=0.1)
    assert (found.lost, found.twice) == (0, 0)
    assert found.seconds < 600
    assert sum(found.operations.values()) < 60


def test_what_is_lost_and_what_is_run_twice_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(folder: Path, count: int) -> scale.Study:
        study = plan(folder, count)
        (folder / "executed-9999").write_text(f"{study.cells[0].hash}\n")  # by somebody else, besides
        return study

    plan = scale.plan
    monkeypatch.setattr(scale, "plan", forgetful)
    assert scale.measure(tmp_path / "study", cells=20, workers=4, sleep=0.01).twice == 1

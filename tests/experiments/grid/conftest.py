"""Studies whose cells do not train: what they do stands in their overrides, and `stub_worker.py` obeys."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.grid.launchers import local
from experiments.grid.study import Cell, Study

STUB = Path(__file__).with_name("stub_worker.py")


def make_cell(name: str, *, seed: int = 0, max_steps: int = 10, **overrides: Any) -> Cell:
    digits = f"{abs(hash(name)):012x}"[:12]
    return Cell(
        name, digits, f"{name}-{digits}", "e" * 12, "rf", "dit", "digits", seed, max_steps, dict(overrides, name=name)
    )


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Study]:
    """``make_study(a={"stub": "fail"}, b={})``: a study of stub cells, called as the keywords are."""

    def make(**cells: dict[str, Any]) -> Study:
        study = Study(tmp_path / "study")
        study.write_plan([make_cell(name, **overrides) for name, overrides in cells.items()], key="", base={})
        return study

    return make


@pytest.fixture
def stub_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The local launcher starts stub workers: 0.3 s each instead of 4, and nothing is trained."""
    monkeypatch.setattr(local, "WORKER", (sys.executable, "-P", str(STUB)))
    monkeypatch.setattr(local, "POLL_EVERY", 0.05)

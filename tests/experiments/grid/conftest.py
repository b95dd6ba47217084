"""Studies whose cells do not train: what they do stands in their overrides, and `stub_worker.py` obeys."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from experiments.bench.scale import counted
from experiments.grid.launchers import local
from experiments.grid.study import Cell, Study

STUB = Path(__file__).with_name("stub_worker.py")


def digits_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def make_cell(name: str, *, seed: int = 0, max_steps: int = 10, needs: Sequence[str] = (), **overrides: Any) -> Cell:
    """A cell of that name; it needs cells by their names."""
    digits, run = digits_of(name), f"{name}-{digits_of(name)}"
    return Cell(
        name, digits, run, "e" * 12, "rf", "dit", "digits", seed, max_steps, dict(overrides, name=name),
        needs=[digits_of(needed) for needed in needs],
    )  # fmt: skip


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


@pytest.fixture
def calls() -> Callable[[], AbstractContextManager[Counter[str]]]:
    """``with calls() as found:`` counts what is asked of the file system inside the block, by name."""
    return counted

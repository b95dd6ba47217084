"""Small real runs."""

from __future__ import annotations

import importlib.metadata
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.config import parse, resolve
from experiments.registry import entries
from experiments.runs import Run

SMALL: dict[str, Any] = {
    "objective": "rf",
    "backbone": {"name": "mlp", "width": 16, "depth": 2},
    "data": "points",
    "trainer": {
        "max_steps": 12, "batch_size": 16, "threads": 1, "log_every": 5, "checkpoint_every": 4, "validate_every": 6,
        "validation_num": 64, "trackers": ["csv"],
    },
    "evaluation": {"steps": []},
}  # fmt: skip


@pytest.fixture(scope="session")
def small_run() -> Callable[..., Run]:
    """Makes a new run of a small configuration under a folder; ``__`` in a keyword stands for a dot."""

    def make(root: Path, **overrides: Any) -> Run:
        dotted = {key.replace("__", "."): value for key, value in overrides.items()}
        return Run.create(resolve(parse(SMALL).override(dotted)), root)

    return make


@pytest.fixture
def make_run(tmp_path: Path, small_run: Callable[..., Run]) -> Callable[..., Run]:
    """The same in a folder of the test's own."""
    return lambda root="runs", **overrides: small_run(tmp_path / root, **overrides)


@pytest.fixture
def taught(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tests' own plugins are installed: objectives that learn from a trained network (frozen, averaged, phased) and
    data in a file (filed)."""
    folder = Path(__file__).with_name("taught")
    install = runpy.run_path(str(folder / "install_taught.py"))["points"]
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr("importlib.metadata.entry_points", install(importlib.metadata.entry_points))
    entries.cache_clear()
    yield
    entries.cache_clear()

"""Small real runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.config import parse, resolve
from experiments.runs import Run

SMALL: dict[str, Any] = {
    "objective": "rf",
    "backbone": {"name": "mlp", "width": 16, "depth": 2},
    "data": {"name": "points", "size": 200},
    "trainer": {
        "max_steps": 12, "batch_size": 16, "threads": 1, "log_every": 5, "checkpoint_every": 4, "validate_every": 6,
        "trackers": ["csv"],
    },
    "evaluation": {"steps": []},
}  # fmt: skip


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """A new run of a small configuration; dotted keys override, ``root`` names another folder."""

    def make(root: str = "runs", **overrides: Any) -> Run:
        dotted = {key.replace("__", "."): value for key, value in overrides.items()}
        return Run.create(resolve(parse(SMALL).override(dotted)), tmp_path / root)

    return make

"""A SLURM of two nodes for the session, and small grids that are run on it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from experiments.grid.language import read_grid
from experiments.grid.planning import prepare
from experiments.grid.study import Study

REQUIRED = "FEWSTEP_REQUIRE_SLURM"
BASE: dict[str, Any] = {
    "data": "points",
    "backbone": {"name": "mlp", "width": 16},
    "trainer": {
        "max_steps": 60, "batch_size": 16, "log_every": 10, "checkpoint_every": 50, "validate_every": 100000,
        "threads": 1, "trackers": ["csv"], "keep_checkpoints": 1,
    },
    "evaluation": {"steps": [1], "weights": ["raw"], "num": 16, "metrics": ["frechet_distance"]},
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These take longest, and one process runs all of them: it begins with them."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """The cluster; without SLURM the tests are skipped, or fail where FEWSTEP_REQUIRE_SLURM is set."""
    module = _cluster()
    if lacking := module.missing():
        told = f"SLURM is not installed: there is no {', '.join(lacking)} (Debian: apt-get install slurm-wlm munge)"
        pytest.fail(told) if os.environ.get(REQUIRED) else pytest.skip(told)
    folder = Path(tempfile.mkdtemp(prefix="fewstep-slurm-"))  # munge's socket needs a short path that all may pass
    cluster = module.Cluster(folder)
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()
        shutil.rmtree(folder, ignore_errors=True)


def _cluster() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cluster", Path(__file__).with_name("cluster.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["cluster"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def here(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The cluster as the one that this process submits to."""
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_CONF", str(cluster.configuration))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield cluster
    cluster.call("scancel", f"--user={cluster.user}")
    deadline = time.monotonic() + 60
    while cluster.call("squeue", "--noheader"):
        assert time.monotonic() < deadline, cluster.status()
        time.sleep(0.2)


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., Study]:
    """``plan("name", {"product": …}, {"max_steps": 100})``: a planned study of a grid over BASE."""

    def make(name: str, grid: dict[str, Any], trainer: dict[str, Any] | None = None) -> Study:
        file = tmp_path / f"{name}.yaml"
        base = {**BASE, "trainer": BASE["trainer"] | (trainer or {})}
        file.write_text(yaml.safe_dump({"name": name, "base": base, **grid}))
        study = Study(tmp_path / "studies" / name)
        prepare(read_grid(file), study)
        return study

    return make

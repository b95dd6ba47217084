"""``fewstep grid plan`` as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.cli.plans import show, size
from experiments.grid.language import Grid, read_grid
from experiments.grid.planning import prepare
from experiments.grid.study import Study

GRID = """
name: small
base: {data: points, backbone: {name: mlp, width: 16}, trainer: {max_steps: 10, batch_size: 16}}
product: {objective: [rf, shortcut]}
"""


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    (tmp_path / "small.yaml").write_text(GRID)
    return read_grid(tmp_path / "small.yaml")


def printed(capsys: pytest.CaptureFixture[str], grid: Grid, study: Study, **options: Any) -> str:
    show(grid, study, **{"measure": False, "rows": 200, "as_json": False, **options})
    return capsys.readouterr().out


def test_the_plan_says_what_a_grid_comes_to(tmp_path: Path, grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, grid, Study(tmp_path / "study"))
    for told in ("2 runs in", "runs   2: 2 new", "steps  20, 20 left", "FLOPs", "--measure", "disk"):
        assert told in text
    assert not (tmp_path / "study").exists(), "a plan writes nothing"
    assert "and 1 more" in printed(capsys, grid, Study(tmp_path / "study"), rows=1)


def test_the_plan_counts_what_is_done_and_names_what_would_be_cancelled(
    tmp_path: Path, grid: Grid, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Study(tmp_path / "study")
    prepare(grid, study)
    rf, shortcut = study.cells
    run = study.run(rf)
    run.path.mkdir()
    run.mark_done(step=10, evaluations=[rf.evaluation])
    (tmp_path / "small.yaml").write_text(GRID.replace("shortcut", "rf/cosmap"))
    text = printed(capsys, read_grid(tmp_path / "small.yaml"), study)
    assert "runs   2: 1 done, 1 new" in text
    assert "steps  20, 10 left" in text
    assert f"would be cancelled, as the grid has them no more: 1: shortcut ({shortcut.hash})" in text


def test_programs_get_the_same_as_json(tmp_path: Path, grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, grid, Study(tmp_path / "study"), as_json=True))
    assert found["total"]["runs"] == len(found["cells"]) == 2
    assert found["total"]["flops"] == sum(cell["flops"] for cell in found["cells"]) > 0
    assert {"name", "hash", "state", "step", "max_steps", "needs", "resources", "seconds", "bytes"} <= set(
        found["cells"][0]
    )


def test_measuring_gives_hours_and_says_so(
    tmp_path: Path, grid: Grid, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.grid.measuring.SECONDS", 0.0)
    text = printed(capsys, grid, Study(tmp_path / "study"), measure=True)
    assert "of one worker" in text
    assert "(measured here)" in text


@pytest.mark.parametrize("arguments", [["--smoke"], ["trainer.max_steps=3"]])
def test_the_command_takes_overrides_and_smoke_and_imports_no_lightning(
    tmp_path: Path, grid: Grid, arguments: list[str]
) -> None:
    code = (
        "import sys; from experiments.cli.app import start; code = start(sys.argv[1:]); "
        "print('imported:', *({'lightning', 'torch._dynamo'} & sys.modules.keys())); raise SystemExit(code)"
    )
    ended = subprocess.run(
        [sys.executable, "-P", "-c", code, "grid", "plan", "small.yaml", *arguments],
        cwd=tmp_path, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ended.stdout.splitlines()[-1] == "imported:"
    assert ("steps  4" if "--smoke" in arguments else "steps  6") in ended.stdout
    assert not (tmp_path / "studies").exists()


@pytest.mark.parametrize(("count", "told"), [(0, "0 B"), (999, "999 B"), (35e6, "35 MB"), (1.25e9, "1.25 GB")])
def test_sizes_are_short(count: float, told: str) -> None:
    assert size(count) == told

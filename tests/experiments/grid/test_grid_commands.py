"""``fewstep grid`` as a user types it, with real runs that are as small as runs can be."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.grid.study import Study

COMMAND = """
import sys
from experiments.cli.app import start
from experiments.grid import planning
planning.code_fingerprint = lambda: "the same code, whoever edits it meanwhile"
code = start(sys.argv[1:])
print("imported:", *({"torch", "lightning"} & sys.modules.keys()))
raise SystemExit(code)
"""

GRID = """
name: small
base:
  data: points
  backbone: {name: mlp, width: 16}
  trainer: {max_steps: 1000, batch_size: 16, checkpoint_every: 100, validate_every: 10000, threads: 1, trackers: [csv]}
  evaluation: {steps: [1], weights: [ema], num: 32, metrics: [frechet_distance]}
product:
  objective: [rf, shortcut]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "small.yaml").write_text(GRID)
    return tmp_path


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-c", COMMAND, "grid", *arguments],
        cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_run_stop_go_on_and_look(folder: Path) -> None:
    running = start(folder, "run", "small.yaml", "--jobs", "1")
    study = Study(folder / "studies" / "small")
    limit = time.monotonic() + 60
    while not (study.plan and study.run(study.cells[0]).status["step"] >= 150):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < limit
        study = Study(study.path)
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    code, _, said = end(running)
    assert code == 75, said
    first = study.run(study.cells[0])
    stopped_at = first.status["step"]
    assert 150 <= stopped_at < 1000

    code, out, said = end(start(folder, "status", "small.yaml"))
    assert code == 0, said
    assert f"{stopped_at}/1000" in out
    assert out.splitlines()[-1] == "imported:"

    code, out, said = end(start(folder, "run", "small.yaml", "--jobs", "1"))
    assert code == 0, said
    assert all(state.state == "done" for _, state in study.states())
    resumed = re.search(
        rf"{re.escape(first.path.name)}: (\d+)/1000", study.log(study.cells[0]).read_text().split("---")[2]
    )
    assert resumed is not None
    assert stopped_at - 200 <= int(resumed[1]) <= stopped_at
    assert (study.report / "index.html").is_file()
    assert out.splitlines()[-1] == "imported:"

    files = [study.run(cell).path / "done.json" for cell in study.cells]
    before = [file.read_bytes() for file in files]
    code, out, _ = end(start(folder, "run", "small.yaml"))
    assert (code, out.splitlines()[-1]) == (0, "imported:"), "a finished grid needs no torch"
    assert [file.read_bytes() for file in files] == before

    code, out, said = end(start(folder, "run", "small.yaml", "--jobs", "1", "evaluation.steps=1,2"))
    assert code == 0, said
    for cell in study.cells:
        run = study.run(cell)
        assert len(list((run.path / "evaluations").glob("*.json"))) == 2, "evaluated anew, as other settings ask"
        last = study.log(cell).read_text().split("---")[-1]
        assert "evaluating" in last
        assert "/1000" not in last, "nothing is trained again"


@pytest.mark.parametrize(
    ("text", "arguments", "told"),
    [
        (GRID + "exclude:\n  - {objective: [rf, shortcut]}\n", (), "all 2 cells are excluded"),
        (GRID + "exclde: []\n", (), "did you mean 'exclude'?"),
        (GRID + "zip: {a: [\n", (), "YAML syntax error"),
        (GRID, ("--jobs", "0"), "jobs is 0"),
        (GRID, ("--launcher", "locl"), "did you mean 'local'?"),
        (GRID, ("objective=rf",), "varies objective itself"),
    ],
)
def test_bad_input_ends_with_2_and_one_message_and_writes_nothing(
    folder: Path, text: str, arguments: tuple[str, ...], told: str
) -> None:
    (folder / "small.yaml").write_text(text)
    code, _, said = end(start(folder, "run", "small.yaml", *arguments))
    assert code == 2
    assert told in " ".join(said.split())
    assert "Traceback" not in said
    assert [path.name for path in folder.iterdir()] == ["small.yaml"]


def test_an_unknown_grid_and_an_unknown_study_are_refused(folder: Path) -> None:
    assert end(start(folder, "plan", "nowhere.yaml"))[0] == 2
    assert end(start(folder, "status", "small.yaml"))[0] == 2

"""What the README shows is real: its configurations load, its commands run, its plugin is the one that is tested."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
EXAMPLE = ROOT / "tests" / "plugin_example"
# A run of the README's in seconds.
QUICK = "trainer.max_steps=3 trainer.batch_size=8 trainer.threads=1 evaluation.num=8 evaluation.steps=1"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def fewstep(command: str, cwd: Path, **variables: str) -> str:
    """Run a command line that begins with "fewstep" and give what it printed."""
    console = Path(sys.executable).with_name("fewstep")
    for name, value in variables.items():
        command = command.replace(f"${name}", value)
    done = subprocess.run(
        [str(console), *shlex.split(command)[1:]],
        cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def commands() -> list[str]:
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("fewstep ")]
    assert len(lines) >= 10
    return lines


def test_a_run_from_training_to_evaluation(commands: list[str], tmp_path: Path) -> None:
    train, *others = (line for line in commands if line.split()[1] in ("train", "sample", "evaluate", "resume"))
    fewstep(train.replace("trainer.max_steps=2000", QUICK), tmp_path)
    (run,) = (tmp_path / "runs").iterdir()
    for line in others:
        fewstep(line.replace("--num 1024", "--num 8"), tmp_path, RUN=str(run))
    assert (run / "done.json").is_file()
    assert len(list((run / "samples").glob("*.png"))) >= 3


def test_what_explains_itself(commands: list[str], tmp_path: Path) -> None:
    for line in commands:
        if line.split()[1] in ("list", "describe"):
            assert fewstep(line, tmp_path).strip()
    assert list(tmp_path.iterdir()) == []


def test_the_config_is_what_it_says(tmp_path: Path) -> None:
    from experiments.config import load

    text = next(block for block in blocks("yaml") if "objective:\n  name" in block)
    (tmp_path / "mine.yaml").write_text(text)
    config = load(tmp_path / "mine.yaml")
    assert config.objective.label == "shortcut/rf/lognorm(0.00,1.00)"
    assert config.trainer.max_steps == yaml.safe_load(text)["trainer"]["max_steps"]


def test_the_grid_is_planned(commands: list[str], tmp_path: Path) -> None:
    text = next(block for block in blocks("yaml") if "product:" in block)
    (tmp_path / "grid.yaml").write_text(text)
    (plan,) = (line for line in commands if line.startswith("fewstep grid plan"))
    shown = fewstep(plan, tmp_path)
    # 2 objectives × 2 backbones × 2 rates, less rf at the lower one, times 3 seeds.
    assert "18" in shown
    assert "learning-rates" in shown


def test_the_plugin_is_the_one_that_is_tested() -> None:
    assert (EXAMPLE / "src" / "fewstep_chord" / "power.py").read_text() in blocks("python")
    (entry,) = blocks("toml")
    assert entry in (EXAMPLE / "pyproject.toml").read_text()


def test_every_link_leads_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"

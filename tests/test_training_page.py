"""The commands of docs/training.md run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from experiments.cli.app import start

PAGE = (Path(__file__).parents[1] / "docs" / "training.md").read_text()
COMMANDS = re.findall(
    r"^fewstep (.*)$", "\n".join(re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)), re.M
)
QUICK = "trainer.max_steps=12 trainer.batch_size=8 trainer.threads=1 trainer.trackers=csv evaluation.steps=1"
QUICK += " evaluation.num=8 ema.snapshot_every=10 evaluation.metrics=frechet_distance"


def test_its_commands_run_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert [command.split()[0] for command in COMMANDS] == [
        "train", "resume", "ema", "evaluate", "profile", "describe",
    ]  # fmt: skip
    for command in COMMANDS:
        runs = list(tmp_path.glob("runs/*"))
        quick = command.replace("trainer.max_steps=2000", QUICK).replace("--num 1024", "--num 8")
        assert start(shlex.split(quick.replace("$RUN", str(runs[0]) if runs else ""))) == 0, command
    (run,) = tmp_path.glob("runs/*")
    assert {"raw.safetensors", "ema.safetensors", "best.safetensors"} < {
        file.name for file in (run / "export").iterdir()
    }
    assert (run / "trace.json").stat().st_size > 1000


def test_the_plan_is_the_one_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert start(shlex.split(COMMANDS[-1])) == 0
    shown = " ".join(capsys.readouterr().out.split())
    said = " ".join(PAGE.split())
    count, total = re.search(r"([\d,]+) parameters\) on 256 GPUs", said), re.search(r"activations: ([\d.]+) GB", said)
    assert count is not None
    assert total is not None
    assert f"{count[1]} parameters on 256 GPUs" in shown
    checkpointed = re.search(r"total [\d.]+ ([\d.]+)", shown)
    assert checkpointed is not None
    assert float(checkpointed[1]) == pytest.approx(float(total[1]), abs=0.05)

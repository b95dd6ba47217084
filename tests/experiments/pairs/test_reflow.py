"""From a trained flow to its pairs, to a run on them, and again; by the commands."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import experiments
from datamodules.pair_set import PairSet, shard_file
from experiments.cli import main
from experiments.console import Reporter
from experiments.evaluation.loaded import LoadedRun
from experiments.runs import Run

POINTS = ["data={name: points, distribution: mixture, size: 1000}"]
SMALL = [
    "backbone={name: mlp, width: 64, depth: 2}", "trainer.batch_size=256", "trainer.trackers=csv", "trainer.threads=1",
    "schedule=constant", "optimizer.lr=0.003", "ema.decays=0.9", "trainer.validate_every=1000",
    "evaluation.steps=1", "evaluation.num=64", "evaluation.weights=ema",
]  # fmt: skip
STEPS = 250
GIVEN = ["objective=flow_matching", "objective.coupling=given_pairs"]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


def unwrapped(capsys: pytest.CaptureFixture[str]) -> str:
    """Standard error without the lines that a narrow terminal makes of it."""
    return capsys.readouterr().err.replace("\n", "")


def train(root: Path, *overrides: str, steps: int = STEPS) -> Path:
    assert run("train", *SMALL, *overrides, f"trainer.max_steps={steps}", "--runs", str(root)) == 0
    (path,) = root.iterdir()
    return path


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rectified flow on points."""
    return train(tmp_path_factory.mktemp("first"), "objective=rf", *POINTS)


@pytest.fixture(scope="module")
def pairs(first: Path) -> Path:
    """2,000 pairs of it."""
    assert run("pairs", str(first), "--num", "2000", "--steps", "16", "--shard", "500") == 0
    return first / "pairs"


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory, pairs: Path) -> Path:
    """A flow on these pairs: 2-rectified."""
    return train(tmp_path_factory.mktemp("second"), f"data=pairs({pairs})", *GIVEN)


def bend(loaded: LoadedRun) -> float:
    """Root mean square distance between samples in 1 and in 32 steps, from equal noise: 0 for straight lines."""
    one, many = (loaded.sample(steps, num=512, weights="raw").x for steps in (1, 32))
    return float((one - many).square().mean().sqrt())


def test_a_flow_on_pairs_is_straighter_than_the_one_that_made_them(first: Path, second: Path) -> None:
    before, after = (bend(experiments.load(path, device="cpu")) for path in (first, second))
    assert after < before / 2


def test_it_is_measured_against_the_real_data(first: Path, second: Path) -> None:
    made, learned = experiments.load(first), experiments.load(second)
    assert torch.equal(learned.data.real.dataset("train").x, made.data.dataset("train").x)
    assert torch.equal(learned.data.dataset("validation").x, made.data.dataset("validation").x)
    one, other = Run.open(first).evaluations()[0]["rows"][0], Run.open(second).evaluations()[0]["rows"][0]
    assert other["frechet_distance"] < one["frechet_distance"]
    assert other["frechet_distance"] > 0.001


def test_pairs_of_a_run_on_pairs_are_of_the_real_data(second: Path, tmp_path: Path) -> None:
    assert run("pairs", str(second), "--num", "512", "--steps", "8", "--out", str(tmp_path / "again")) == 0
    found = PairSet.find(tmp_path / "again")
    assert found is not None
    assert found.recipe["data"]["name"] == "points"
    assert found.recipe["run"] == second.name[-12:]
    third = train(tmp_path / "third", f"data=pairs({tmp_path / 'again'})", *GIVEN, steps=4)
    assert third.name[-12:] != second.name[-12:]
    assert Run.open(third).config.data.options["of"].name == "points"


def test_a_run_whose_pairs_are_gone_is_sampled_and_measured_but_not_trained(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(pairs, tmp_path / "copy")
    path = train(tmp_path / "runs", f"data=pairs({tmp_path / 'copy'})", *GIVEN, steps=4)
    shutil.move(tmp_path / "copy", tmp_path / "moved")
    assert run("sample", str(path), "--steps", "1", "--num", "4") == 0
    assert run("evaluate", str(path), "--steps", "2", "--num", "64", "--weights", "raw") == 0
    assert run("resume", str(path), "trainer.max_steps=6") == 2
    assert "there is no pair set" in unwrapped(capsys)
    there = f"data.path={tmp_path / 'moved'}"
    assert run("resume", str(path), there) == 0
    assert run("resume", str(path), "trainer.max_steps=6", there) == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_a_damaged_shard_ends_a_training_with_its_name(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(pairs, tmp_path / "copy")
    file = shard_file(tmp_path / "copy", 1)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    asked = ["train", *SMALL, f"data=pairs({tmp_path / 'copy'})", *GIVEN, "trainer.max_steps=4"]
    assert run(*asked, "--runs", str(tmp_path / "runs")) == 3
    assert f"{file} is damaged" in unwrapped(capsys)
    file.write_bytes(content[:-100])
    assert run(*asked, "--runs", str(tmp_path / "runs")) == 2
    assert f"{file} is damaged" in unwrapped(capsys)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--solver", "euler_maruyama"], "adds noise of its own"),
        (["--guidance", "2"], "no condition to guide by"),
        (["--steps", "0"], "--steps"),
        (["--num", "x"], "--num"),
        (["--weights", "emma"], "weights=emma"),
        (["--processes", "0"], "--processes"),
        (["--out", "."], "not empty"),
    ],
)
def test_bad_input_ends_with_2_and_nothing_written(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    options: list[str], told: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").write_text("")
    before = sorted(first.rglob("*"))
    assert run("pairs", str(first), *options) == 2
    assert told in capsys.readouterr().err
    assert sorted(first.rglob("*")) == before
    assert [file.name for file in tmp_path.iterdir()] == ["there"]
    assert run("pairs", "nowhere") == 2


def test_ctrl_c_ends_with_75_and_a_word_on_how_to_go_on(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["pairs", str(first), "--num", "40", "--steps", "2", "--shard", "8", "--out", str(tmp_path / "set")]
    advance: Callable[..., None] = Reporter.advance

    def interrupted(self: Reporter, done: int, text: str = "") -> None:
        advance(self, done, text)
        if done == 16:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Reporter, "advance", interrupted)
    assert run(*command) == 75
    assert "Stopped with 2 of 5 shards" in unwrapped(capsys)
    assert run(*command) == 0
    told = capsys.readouterr()
    assert told.out.strip() == str(tmp_path / "set")
    assert "2 of 5 shards" in told.err
    assert "fewstep train objective=reflow" in told.err

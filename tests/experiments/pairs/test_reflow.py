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
from datamodules.pair_set import INDEX, PairSet, shard_file
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
ASKED = ["--num", "2000", "--steps", "16", "--shard", "500"]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


def unwrapped(capsys: pytest.CaptureFixture[str]) -> str:
    """Standard error without the lines that a narrow terminal makes of it."""
    return capsys.readouterr().err.replace("\n", "")


def reflow(flow: Path) -> list[str]:
    """What asks for the pairs of a flow that ``fewstep pairs`` makes by ASKED."""
    return ["objective=reflow", *POINTS, f"pairs={flow}", "pairs.num=2000", "pairs.steps=16"]


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
    assert run("pairs", str(first), *ASKED) == 0
    (folder,) = (first / "pairs").iterdir()
    return folder


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory, first: Path, pairs: Path) -> Path:
    """A flow on these pairs: 2-rectified."""
    then = (pairs / INDEX).stat().st_mtime_ns
    path = train(tmp_path_factory.mktemp("second"), *reflow(first))
    assert list((first / "pairs").iterdir()) == [pairs], "the training takes the set that the command has made"
    assert (pairs / INDEX).stat().st_mtime_ns == then
    return path


def bend(loaded: LoadedRun) -> float:
    """Root mean square distance between samples in 1 and in 32 steps, from equal noise: 0 for straight lines."""
    one, many = (loaded.sample(steps, num=512, weights="raw").x for steps in (1, 32))
    return float((one - many).square().mean().sqrt())


def test_a_flow_on_pairs_is_straighter_than_the_one_that_made_them(first: Path, second: Path) -> None:
    before, after = (bend(experiments.load(path, device="cpu")) for path in (first, second))
    assert after < before / 2


def test_it_is_measured_against_the_real_data(first: Path, second: Path) -> None:
    made, learned = experiments.load(first), experiments.load(second)
    assert torch.equal(learned.data.dataset("train").x, made.data.dataset("train").x)
    one, other = Run.open(first).evaluations()[0]["rows"][0], Run.open(second).evaluations()[0]["rows"][0]
    assert other["frechet_distance"] < one["frechet_distance"]
    assert other["frechet_distance"] > 0.001


def test_reflowed_again_by_the_training_alone(second: Path, tmp_path: Path) -> None:
    asked = ["objective=reflow", *POINTS, f"pairs={second}", "pairs.num=512", "pairs.steps=8"]
    third = train(tmp_path / "third", *asked, steps=4)
    (folder,) = (second / "pairs").iterdir()
    found = PairSet.find(folder)
    assert found is not None
    assert (found.recipe["run"], found.recipe["data"]["name"]) == (second.name[-12:], "points")
    assert (len(found), found.recipe["steps"], found.recipe["weights"]) == (512, 8, "ema")
    assert Run.open(third).config.pairs is not None
    by_hand = run("pairs", str(second), "--num", "512", "--steps", "8")
    assert by_hand == 0
    assert list((second / "pairs").iterdir()) == [folder], "the command finds the set that the training has made"


def test_a_run_whose_pairs_and_flow_are_gone_is_sampled_and_measured_but_not_trained(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(first, tmp_path / "flows" / first.name, ignore=shutil.ignore_patterns("pairs"))
    flow = tmp_path / "flows" / first.name
    asked = ["objective=reflow", *POINTS, f"pairs={flow}", "pairs.num=64", "pairs.steps=2"]
    path = train(tmp_path / "runs", *asked, steps=4)
    shutil.rmtree(flow / "pairs")
    sample, measure = ["sample", str(path), "--steps", "1", "--num", "4"], ["evaluate", str(path), "--num", "64"]
    assert run(*sample) == 0
    assert run(*measure, "--steps", "2") == 0
    assert run("resume", str(path)) == 0
    assert not (flow / "pairs").exists()
    shutil.move(flow, tmp_path / "moved")
    assert run(*sample) == 0
    assert run(*measure, "--steps", "3") == 0
    assert run("resume", str(path)) == 0
    assert run("resume", str(path), "trainer.max_steps=6") == 2
    assert "is no run of hash" in unwrapped(capsys)
    assert run("resume", str(path), "trainer.max_steps=6", f"pairs={tmp_path / 'moved'}") == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2
    assert len(list((tmp_path / "moved" / "pairs").iterdir())) == 1


def test_a_damaged_shard_is_made_again_or_ends_a_training_with_its_name(
    first: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(first, tmp_path / first.name)
    digest = PairSet.find(pairs).digest  # pyright: ignore[reportOptionalMemberAccess]
    folder = tmp_path / first.name / "pairs" / pairs.name
    file = shard_file(folder, 1)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    asked = ["train", *SMALL, *reflow(tmp_path / first.name), "trainer.max_steps=4", "--runs", str(tmp_path / "runs")]
    assert run(*asked) == 3
    assert f"{file} is damaged" in unwrapped(capsys)
    file.write_bytes(content[:-100])
    assert run(*asked) == 0
    found = PairSet.find(folder)
    assert found is not None
    assert found.digest == digest
    assert found.tensors(1)


def test_a_training_that_is_stopped_while_it_makes_its_pairs_goes_on_there(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(first, tmp_path / first.name, ignore=shutil.ignore_patterns("pairs"))
    asked = ["objective=reflow", *POINTS, f"pairs={tmp_path / first.name}", "pairs.num=40", "pairs.steps=2"]
    command = ["train", *SMALL, *asked, "pairs.shard=8", "trainer.max_steps=2", "--runs", str(tmp_path / "runs")]
    interrupt(monkeypatch, at=16)
    assert run(*command) == 75
    assert "Stopped with 2 of 5 shards" in unwrapped(capsys)
    (path,) = (tmp_path / "runs").iterdir()
    assert Run.open(path).status["state"] == "interrupted"
    assert run("resume", str(path)) == 0
    assert "2 of 5 shards" in unwrapped(capsys)


def interrupt(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Ctrl-C when so many pairs are made."""
    advance: Callable[..., None] = Reporter.advance

    def interrupted(self: Reporter, done: int, text: str = "") -> None:
        advance(self, done, text)
        if done == at and "shards" in text:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Reporter, "advance", interrupted)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--solver", "euler_maruyama"], "adds noise of its own"),
        (["--guidance", "2"], "no condition to guide by"),
        (["--steps", "0"], "--steps"),
        (["--num", "x"], "--num"),
        (["--weights", "emma"], "weights: given the text 'emma'"),
        (["--processes", "0"], "--processes"),
        (["--solver", "eulr"], "did you mean 'euler'"),
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
    shutil.copytree(first, tmp_path / first.name, ignore=shutil.ignore_patterns("pairs"))
    command = ["pairs", str(tmp_path / first.name), "--num", "40", "--steps", "2", "--shard", "8"]
    interrupt(monkeypatch, at=16)
    assert run(*command) == 75
    assert "Stopped with 2 of 5 shards" in unwrapped(capsys)
    assert run(*command) == 0
    told = capsys.readouterr()
    assert Path(told.out.strip()).parent == tmp_path / first.name / "pairs"
    assert "2 of 5 shards" in told.err
    asked = f"objective=reflow pairs={tmp_path / first.name} pairs.num=40 pairs.steps=2 pairs.shard=8"
    assert asked in told.err.replace("\n", "")

"""Whole sets: the same from any number of processes and after any interruption; nothing is made twice."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from datamodules.pair_set import INDEX, RECIPE, PairSet, shard_file
from experiments import weights
from experiments.claims import claim, history
from experiments.config import RunPairs
from experiments.console import Reporter
from experiments.errors import Interrupted, RunFailed, UserError
from experiments.evaluation.loaded import LoadedRun
from experiments.execute import execute
from experiments.pairs import make
from experiments.pairs.folder import Folder
from experiments.pairs.holding import CLAIMS
from experiments.pairs.make import make_pairs
from experiments.pairs.processes import Progress, make_on_processes
from experiments.pairs.recipe import Recipe
from experiments.stopping import Stop

Make = Callable[..., Any]
QUIET = Reporter("none")


def made(loaded: Any, path: Path, recipe: Recipe | None = None, **options: Any) -> PairSet:
    chosen = {"stop": Stop(), "reporter": QUIET, **options}
    return make_pairs(path, lambda: (loaded, recipe or loaded.recipe), **chosen)


def same(one: PairSet, other: PairSet) -> bool:
    """Whether two sets are equal bit for bit."""
    alike = [
        one.tensors(number).keys() == other.tensors(number).keys()
        and all(torch.equal(value, other.tensors(number)[name]) for name, value in one.tensors(number).items())
        for number in range(len(one.shards))
    ]
    return all(alike) and one.index == other.index


class Stopping(Reporter):
    """Asks for a stop when so many pairs are done."""

    def __init__(self, stop: Stop, at: int) -> None:
        super().__init__("none")
        self.stop, self.at = stop, at

    def advance(self, done: int, text: str = "") -> None:
        self.stop.requested = self.stop.requested or done >= self.at


def test_an_interrupted_set_goes_on_and_is_that_of_one_that_was_not(exact: Make, tmp_path: Path) -> None:
    loaded, stop = exact(num=22, shard=5), Stop()
    with pytest.raises(Interrupted, match=r"Stopped with 2 of 5 shards in .*the same command goes on") as caught:
        made(loaded, tmp_path / "set", stop=stop, reporter=Stopping(stop, 10))
    assert caught.value.exit_code == 75
    assert PairSet.find(tmp_path / "set") is None
    before = {number: shard_file(tmp_path / "set", number).stat().st_mtime_ns for number in range(2)}
    found = made(loaded, tmp_path / "set")
    assert {number: shard_file(tmp_path / "set", number).stat().st_mtime_ns for number in before} == before
    assert same(found, made(loaded, tmp_path / "other"))


def test_a_damaged_shard_is_made_again_and_no_other(exact: Make, tmp_path: Path) -> None:
    loaded = exact(num=22, shard=5)
    digest = made(loaded, tmp_path / "set").digest
    files = [shard_file(tmp_path / "set", number) for number in range(5)]
    content = bytearray(files[2].read_bytes())
    content[-1] ^= 1
    files[2].write_bytes(content)
    before = [file.stat().st_mtime_ns for file in files]
    found = made(loaded, tmp_path / "set")
    assert [file.stat().st_mtime_ns != then for file, then in zip(files, before, strict=True)] == [
        False, False, True, False, False,
    ]  # fmt: skip
    assert found.digest == digest
    found.check()
    assert found.tensors(2)


def test_a_set_that_is_whole_is_left_alone(exact: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = exact()
    made(loaded, tmp_path / "set")
    monkeypatch.setattr(make, "Maker", None)
    then = (tmp_path / "set" / INDEX).stat().st_mtime_ns
    loaded.sampler = None
    assert made(loaded, tmp_path / "set", processes=1).digest
    assert (tmp_path / "set" / INDEX).stat().st_mtime_ns == then


def test_pairs_that_are_made_otherwise_are_left_and_told(exact: Make, tmp_path: Path) -> None:
    made(exact(), tmp_path / "set")
    with pytest.raises(UserError, match=r"made otherwise: fingerprint '.*' there, 'another' here\. Remove that folder"):
        made(exact(fingerprint="another"), tmp_path / "set")
    assert json.loads((tmp_path / "set" / RECIPE).read_text())["fingerprint"] != "another"


def test_a_set_that_was_begun_keeps_the_size_of_its_shards(exact: Make, tmp_path: Path) -> None:
    loaded, stop = exact(num=22, shard=5), Stop()
    with pytest.raises(Interrupted):
        made(loaded, tmp_path / "set", stop=stop, reporter=Stopping(stop, 10))
    found = made(exact(num=22, shard=11), tmp_path / "set")
    assert same(found, made(loaded, tmp_path / "other"))


def test_of_two_that_want_one_set_one_makes_it_while_the_other_waits(exact: Make, tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()
    made_by: list[str] = []

    def load(name: str) -> Any:
        made_by.append(name)
        begun.set()
        assert go_on.wait(60)
        loaded = exact()
        return loaded, loaded.recipe

    class Waiting(Reporter):
        said: ClassVar[list[str]] = []

        def notice(self, text: str) -> None:
            self.said.append(text)
            go_on.set()

    def make(name: str, reporter: Reporter) -> PairSet:
        return make_pairs(tmp_path / "set", lambda: load(name), verify=False, stop=Stop(), reporter=reporter)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(make, "first", QUIET)
        assert begun.wait(60)
        second = make("second", Waiting("none"))
    assert made_by == ["first"]
    assert same(first.result(), second)
    assert Waiting.said == [f"Another process makes the pairs in {tmp_path / 'set'}: waiting for it."]


def test_who_waits_hears_a_stop(exact: Make, tmp_path: Path) -> None:
    held = claim(tmp_path / "set" / CLAIMS)
    assert held is not None
    stop = Stop()
    stop.requested = True
    with pytest.raises(Interrupted):
        made(exact(), tmp_path / "set", stop=stop)
    assert held.ours
    held.end("interrupted")
    assert made(exact(), tmp_path / "set").digest


def test_who_was_taken_for_dead_writes_nothing_more_and_takes_what_the_other_made(exact: Make, tmp_path: Path) -> None:
    """A maker that is paused for too long finds the set in other hands, and waits for these."""
    loaded, taken, path = exact(num=22, shard=5), [], tmp_path / "set"

    class Paused(Reporter):
        def advance(self, done: int, text: str = "") -> None:
            if taken:
                return
            (own,) = (path / CLAIMS).glob("0*.json")
            owner = json.loads(own.read_text())
            own.write_text(json.dumps({**owner, "started": "long ago"}))
            taken.append(claim(path / CLAIMS))
            assert taken[0] is not None

    def ended() -> None:
        while not taken:
            time.sleep(0.05)
        time.sleep(1)
        assert len(list(path.glob("pairs-*"))) == 1
        taken[0].end("interrupted")

    with ThreadPoolExecutor() as pool:
        other = pool.submit(ended)
        found = made(loaded, path, reporter=Paused("none"))
    other.result()
    assert same(found, made(loaded, tmp_path / "other"))
    assert [one.outcome for one in history(path / CLAIMS)] == [None, "interrupted", "done"]


def test_a_set_that_stands_is_taken_without_loading_anything(exact: Make, tmp_path: Path) -> None:
    made(exact(num=22, shard=5), tmp_path / "set")

    def load() -> Any:
        raise AssertionError("there is nothing to make")

    found = make_pairs(tmp_path / "set", load, verify=False, stop=Stop(), reporter=QUIET)
    shard_file(tmp_path / "set", 3).unlink()
    with pytest.raises(AssertionError, match="nothing to make"):
        make_pairs(tmp_path / "set", load, verify=False, stop=Stop(), reporter=QUIET)
    again = made(exact(num=22, shard=5), tmp_path / "set", verify=False)
    assert same(found, again)


def test_what_an_interrupted_write_left_is_swept(exact: Make, tmp_path: Path) -> None:
    folder = made(exact(), tmp_path / "set").folder
    left = folder / ".pairs-00001.safetensors.77"
    left.write_bytes(b"half")
    made(exact(), folder)
    assert not left.exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, small_run: Make) -> LoadedRun:
    """A small flow on points, trained for 12 steps."""
    run = small_run(tmp_path_factory.mktemp("trained"))
    assert execute(run) == 0
    return LoadedRun(run, device="cpu")


def of(trained: LoadedRun, **changed: Any) -> Recipe:
    asked = {"run": str(trained.run.path), "weights": "ema", "hash": trained.config.hash}
    return Recipe.of(trained, RunPairs(**{**asked, "num": 60, "shard": 8, "steps": 3, **changed}))


def test_one_process_and_three_make_the_same_set(trained: LoadedRun, tmp_path: Path) -> None:
    one, three = (made(trained, tmp_path / str(n), of(trained), processes=n) for n in (1, 3))
    assert same(one, three)
    other = made(trained, tmp_path / "other", of(trained, weights="raw"))
    assert not same(one, other)


def test_a_process_that_dies_is_told_and_what_it_leaves_is_gone_on_with(
    trained: LoadedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEWSTEP_CHAOS", "weights:2")
    with pytest.raises(RunFailed, match=r"ended with exit code -9 at shard \d; .*goes on"):
        made(trained, tmp_path / "set", of(trained), processes=2)
    assert PairSet.find(tmp_path / "set") is None
    monkeypatch.delenv("FEWSTEP_CHAOS")
    found = made(trained, tmp_path / "set", of(trained))
    assert same(found, made(trained, tmp_path / "other", of(trained)))


def test_processes_are_ended_at_once_by_a_stop(trained: LoadedRun, tmp_path: Path) -> None:
    stop = Stop()
    recipe = of(trained, num=8 * 400)
    began = time.monotonic()
    with pytest.raises(Interrupted, match="of 400 shards"):
        made(trained, tmp_path / "set", recipe, processes=2, stop=stop, reporter=Stopping(stop, 16))
    there = len(list((tmp_path / "set").glob("pairs-*")))
    assert 2 <= there < 400
    time.sleep(0.5)
    assert len(list((tmp_path / "set").glob("pairs-*"))) == there
    assert time.monotonic() - began < 300


def test_what_a_process_cannot_do_is_told_in_its_own_words(
    trained: LoadedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = of(trained)
    folder = Folder.begin(tmp_path / "set", recipe)
    (tmp_path / "set" / RECIPE).write_text(json.dumps({**recipe.plain(), "weights": "power-0.10"}))
    with pytest.raises(RunFailed, match="no snapshots"):
        make_on_processes(trained, folder, [0, 1], 2, lambda: None, Progress(QUIET, recipe, [0, 1]))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"weights": "power-0.10"}, "no snapshots"),
        ({"weights": "ema-0.5"}, "keeps ema"),
        ({"solver": "euler_maruyama"}, "adds noise of its own"),
        ({"solver": "eulr"}, "did you mean 'euler'"),
        ({"solver": "consistency"}, "consistency"),
        ({"guidance": 2.0}, "no condition to guide by"),
        ({"steps": 0}, r"steps: of rf.*number of steps must be"),
    ],
)
def test_what_the_run_cannot_do_is_refused(trained: LoadedRun, changed: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        of(trained, **changed)


def test_a_recipe_says_which_run_and_which_data(trained: LoadedRun) -> None:
    recipe = of(trained)
    assert recipe.run == trained.run.path.name[-12:]
    assert recipe.step == 12
    assert recipe.data["name"] == "points"
    assert recipe == of(trained, solver="euler")
    assert json.loads(json.dumps(recipe.plain())) == recipe.plain()
    assert [len(recipe.rows(number)) for number in range(recipe.shards)] == [8] * 7 + [4]


def test_a_shards_header_names_its_recipe(exact: Make, tmp_path: Path) -> None:
    loaded = exact()
    folder = made(loaded, tmp_path / "set").folder
    shard_file(folder, 0).write_bytes(shard_file(folder, 1).read_bytes())
    assert Folder(folder, loaded.recipe).missing() == [0]
    assert weights.facts(shard_file(folder, 1))["shard"] == "1"

"""Studies in one file whose cells are trained on pairs that the cells of an earlier stage make."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from datamodules.pair_set import PairSet
from experiments.claims import Heartbeat, history
from experiments.config import ConfigError
from experiments.console import Reporter
from experiments.evaluation.loaded import LoadedRun
from experiments.execute import execute
from experiments.grid import worker
from experiments.grid.language import Grid, read_grid
from experiments.grid.measuring import measured
from experiments.grid.planning import configure, plan, prepare, survey
from experiments.grid.smoke import PAIRS, smoke
from experiments.grid.study import Study
from experiments.grid.taking import Taker
from experiments.pairs.holding import CLAIMS
from experiments.pairs.making import Maker
from experiments.pairs.prepare import prepare as pairs_for
from experiments.runs import Run
from experiments.stopping import Stop

STUDY = """
name: rectified
base:
  data: points
  backbone: {name: mlp, width: 8, depth: 2}
  trainer: {max_steps: 6, batch_size: 16, checkpoint_every: 6, validate_every: 6, threads: 1, trackers: [csv]}
  evaluation: {steps: [2], num: 16, weights: [ema], metrics: [energy_distance]}
seeds: [0]
grids:
  flows:
    base: {objective: rf}
  rectified:
    base: {objective: {name: flow_matching, coupling: given_pairs}, pairs: {stage: flows, num: 40, steps: 3, shard: 16}}
    product: {optimizer.lr: [1e-3, 1e-2]}
    after: {flows: [seed]}
  again:
    base:
      objective: {name: flow_matching, coupling: given_pairs}
      pairs: {stage: rectified, weights: raw, num: 24, steps: 2}
      start.stage: rectified
    cells: [{optimizer.lr: 1e-2}]
    after: {rectified: [seed, optimizer.lr]}
"""


def read(folder: Path, text: str = STUDY) -> Grid:
    file = folder / "grid.yaml"
    file.write_text(text)
    return read_grid(file)


def the(study: Study, grid: str) -> list[Run]:
    return [study.run(cell) for cell in study.cells if cell.grid == grid]


def sets(run: Run) -> list[PairSet]:
    """The finished pair sets in a run's folder."""
    return [found for folder in sorted((run.path / "pairs").glob("*")) if (found := PairSet.find(folder)) is not None]


def test_each_cells_pairs_come_from_the_cell_that_agrees_with_it(tmp_path: Path) -> None:
    planned = survey(read(tmp_path, STUDY.replace("seeds: [0]", "seeds: [0, 1]")))
    of = {one.cell.hash: one for one in planned}
    assert len(of) == 8
    for one in planned:
        if one.cell.grid == "flows":
            assert one.config.pairs is None
            continue
        assert one.config.pairs is not None
        (needed,) = one.cell.needs
        assert one.config.pairs.hash == needed
        assert one.config.pairs.run == f"../{of[needed].cell.run}"
        assert of[needed].cell.seed == one.cell.seed
        assert of[needed].cell.grid == {"rectified": "flows", "again": "rectified"}[one.cell.grid]
        asked = (one.config.pairs.num, one.config.pairs.steps, one.config.pairs.weights)
        assert asked == ((40, 3, "ema") if one.cell.grid == "rectified" else (24, 2, "raw"))
        assert one.config.data.label == "points"
    study = Study(tmp_path / "study")
    prepare(read(tmp_path), study)
    assert all(configure(study.base, cell.overrides).hash == cell.hash for cell in study.cells)


def test_other_pairs_or_another_flow_make_another_student_and_the_shards_do_not(tmp_path: Path) -> None:
    def hashes(old: str, new: str) -> dict[str, str]:
        assert old in STUDY
        return {cell.name: cell.hash for cell in plan(read(tmp_path, STUDY.replace(old, new)))}

    before = hashes("", "")
    assert hashes("shard: 16", "shard: 8") == before
    other = hashes("num: 40", "num: 41")
    assert {name for name in before if before[name] == other[name]} == {"flows:"}
    assert not set(hashes("objective: rf}", "objective: rf, optimizer.lr: 2e-3}").values()) & set(before.values())


def test_pairs_are_an_axis_too(tmp_path: Path) -> None:
    text = STUDY.replace(
        "product: {optimizer.lr: [1e-3, 1e-2]}", "product: {pairs.num: [16, 40], optimizer.lr: [1e-2]}"
    )
    text = text.replace("{rectified: [seed, optimizer.lr]}", "{rectified: [seed, pairs.num]}").replace(
        "num: 24, steps: 2", "num: 40, steps: 2"
    )
    planned = [one for one in survey(read(tmp_path, text)) if one.cell.grid == "rectified"]
    assert [one.cell.name for one in planned] == ["rectified: num=16", "rectified: num=40"]
    assert [one.config.pairs.num for one in planned] == [16, 40]  # pyright: ignore[reportOptionalMemberAccess]


STAGE, OBJECTIVE = "pairs: {stage: flows", "base: {objective: {name: flow_matching, coupling: given_pairs}, pairs"
FAULTS: list[tuple[str, str, list[str]]] = [
    (STAGE, "pairs: {stage: flowz", ["pairs.stage", "no such earlier stage 'flowz'; did you mean 'flows'"]),
    (STAGE, "pairs: {weights: ema-0.5, stage: flows", ["given 'ema-0.5'", "kept are raw, ema-0.999"]),
    (STAGE, "pairs: {solver: euler_maruyama, stage: flows", ["pairs.solver", "adds noise of its own"]),
    (STAGE, "pairs: {guidance: 2, stage: flows", ["pairs.guidance", "no condition to guide by"]),
    (STAGE, "pairs: {shards: 2, stage: flows", ["pairs.shards", "did you mean 'shard'"]),
    (OBJECTIVE, "base: {objective: rf, pairs", ["rf draws its own noise, given"]),
    ("{objective: rf}", "{objective: rf, data.size: 99}", ["these are others: its size is 99, not 4000"]),
    ("{objective: rf}", "{objective: shortcut(M=2)}", ["pairs.steps", "from 1 to 2"]),
    ("{objective: rf}", "{objective: consistency_training}", ["pairs.solver", "consistency adds noise of its own"]),
    ("pairs: {stage: flows, num: 40, steps: 3, shard: 16}", "ema.warmup: true", ["needs samples with their own noise"]),
]


@pytest.mark.parametrize(("old", "new", "words"), FAULTS)
def test_what_does_not_fit_is_refused_before_the_flow_is_there(
    tmp_path: Path, old: str, new: str, words: list[str]
) -> None:
    assert old in STUDY
    with pytest.raises(ConfigError) as caught:
        plan(read(tmp_path, STUDY.replace(old, new)))
    for word in words:
        assert word in str(caught.value)
    if "needs samples" not in words[0]:
        assert "grid.yaml:13" in str(caught.value)


def test_a_study_from_flows_to_the_flows_on_their_pairs(tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    prepare(read(tmp_path), study)
    assert worker.work(Taker(study, launch="this"), Stop()) == 0
    assert {state.state for _, state in study.states()} == {"done"}, [state.message for _, state in study.states()]
    (flow,), rectified = the(study, "flows"), the(study, "rectified")
    (found,) = sets(flow)
    assert (found.recipe["run"], found.recipe["num"], found.recipe["step"]) == (flow.config.hash, 40, 6)
    assert [len(sets(run)) for run in rectified] == [0, 1]
    # Pairs are needed by training alone, and so is the run that makes them.
    shutil.move(study.path, tmp_path / "moved")
    moved = Study.open(tmp_path / "moved")
    for run in (the(moved, "flows")[0], *the(moved, "rectified")):
        shutil.rmtree(run.path / "pairs", ignore_errors=True)
    for cell in moved.cells:
        assert execute(moved.run(cell)) == 0
        loaded = LoadedRun(moved.run(cell))
        assert loaded.sample(2, num=4).x.isfinite().all()
        assert loaded.evaluate(steps=[1], num=16)["rows"]
    assert not (the(moved, "flows")[0].path / "pairs").exists()
    # The moved study goes on: a new cell has its pairs made anew there, and they are the same.
    prepare(read(tmp_path, STUDY.replace("[1e-3, 1e-2]", "[1e-3, 1e-2, 3e-3]")), moved)
    assert worker.work(Taker(moved, launch="that"), Stop()) == 0
    assert {state.state for _, state in moved.states()} == {"done"}
    (again,) = sets(the(moved, "flows")[0])
    assert (again.folder.name, again.digest) == (found.folder.name, found.digest)


@pytest.fixture
def begun(tmp_path: Path) -> Study:
    """The study with its flow trained, and nothing else."""
    study = Study(tmp_path / "study")
    prepare(read(tmp_path), study)
    assert worker.work_on(Taker(study, launch="this"), study.cells[0], Stop()) == 0
    return study


def test_students_that_want_one_set_at_once_make_it_once(begun: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    make_one, made = Maker.make, list[int]()

    def slowly(self: Maker, number: int, check: Any) -> None:
        made.append(number)
        time.sleep(0.2)
        make_one(self, number, check)

    monkeypatch.setattr(Maker, "make", slowly)
    students = [cell for cell in begun.cells if cell.grid == "rectified"]
    runs = [Run.create(configure(begun.base, cell.overrides), begun.runs) for cell in students]
    assert len(runs) == 2
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda run: pairs_for(run, stop=Stop(), reporter=Reporter("none")), runs))
    assert made == [0, 1, 2]
    (found,) = sets(the(begun, "flows")[0])
    assert [one.outcome for one in history(found.folder / CLAIMS)][:1] == ["done"]


def test_a_worker_gives_signs_of_life_while_it_makes_pairs(begun: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    student = next(cell for cell in begun.cells if cell.grid == "rectified")
    make_one, beats = Maker.make, set[int]()

    def slowly(self: Maker, number: int, check: Any) -> None:
        for _ in range(10):
            time.sleep(0.05)
            (file,) = begun.claims(student).glob("0*.json")
            beats.add(file.stat().st_mtime_ns)
        assert begun.state(student).state == "running"
        make_one(self, number, check)

    monkeypatch.setattr(Maker, "make", slowly)
    monkeypatch.setattr(worker, "Heartbeat", lambda held, look: Heartbeat(held, every=0.1, look=look))
    assert worker.work_on(Taker(begun, launch="this"), student, Stop()) == 0
    assert len(beats) > 3


def test_a_cell_whose_worker_died_over_its_pairs_goes_on_where_it_was(
    begun: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = next(cell for cell in begun.cells if cell.grid == "rectified")
    command = [sys.executable, "-P", "-m", "experiments.grid.worker", str(begun.path), "--cell", student.hash]
    died = subprocess.run(command, env={**os.environ, "FEWSTEP_CHAOS": "weights:2"}, check=False)
    assert died.returncode == -9
    assert sets(the(begun, "flows")[0]) == []
    make_one, made = Maker.make, list[int]()

    def noted(self: Maker, number: int, check: Any) -> None:
        made.append(number)
        make_one(self, number, check)

    monkeypatch.setattr(Maker, "make", noted)
    assert worker.work_on(Taker(begun, launch="that"), student, Stop()) == 0
    assert made == [1, 2]
    (found,) = sets(the(begun, "flows")[0])
    found.check()


def test_the_smoke_makes_few_pairs(tmp_path: Path) -> None:
    text = STUDY.replace("num: 40, ", "").replace("num: 24, ", "")
    asked = [one.config.pairs for one in survey(smoke(read(tmp_path, text)))]
    assert {one.num for one in asked if one is not None} == {PAIRS}
    assert sum(one is None for one in asked) == 1


def test_steps_are_timed_before_there_are_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.grid.measuring.SECONDS", 0.0)
    assert len(measured([one.config for one in survey(read(tmp_path))])) == 2

"""Pair sets in a configuration: known by content, refused before anything is written, never remembered as they were."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.config import Config, ConfigError, parse, resolve
from experiments.runs import Run

GIVEN = {"name": "flow_matching", "coupling": "given_pairs"}


def config(path: Path, **data: Any) -> Config:
    return resolve(parse({"data": {"name": "pairs", "path": str(path), **data}, "backbone": "mlp", "objective": GIVEN}))


def test_a_set_enters_the_identity_by_content_alone(write: Callable[..., Path], tmp_path: Path) -> None:
    here = config(write("here"))
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert config(tmp_path / "there").hash == here.hash
    assert config(tmp_path / "there", of={"name": "points", "size": 16}).hash == here.hash
    assert config(write("other", seed=1)).hash != here.hash
    assert set(here.data.identity()["arguments"]) == {"digest"}
    assert here.data.label == f"pairs of points {here.data.options['digest'][:6]}"


def test_a_run_finds_its_pairs_from_any_folder(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("set")
    monkeypatch.chdir(tmp_path)
    run = Run.create(config(Path("set")), Path("runs"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = Run.open(tmp_path / run.path).config
    assert run.path.name.endswith(found.hash)
    assert found.data.options["path"] == str(tmp_path / "set")


def test_what_is_written_holds_the_original_data_and_the_digest_and_reads_back(write: Callable[..., Path]) -> None:
    found = config(write("set"))
    written = found.plain()
    assert written["data"]["of"]["name"] == "points"
    assert len(written["data"]["digest"]) == 16
    assert resolve(parse(written)) == found


def test_another_set_at_the_place_of_the_old_one_is_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    before = config(write("set"))
    shutil.rmtree(tmp_path / "set")
    write("set", seed=1)
    with pytest.raises(ConfigError, match=r"data: pairs: .*is asked for"):
        resolve(parse(before.plain()))
    after = config(tmp_path / "set")
    assert after.hash != before.hash
    assert after.data.options["digest"] != before.data.options["digest"]


def test_pairs_of_other_data_are_refused_at_their_place(write: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match=r"data: pairs: .*pairs of another data set: of points\(.*not of digits\("):
        config(write("set"), of="digits")


def test_a_set_that_is_made_after_it_was_missed_is_found(write: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no pair set"):
        config(tmp_path / "set")
    write("set")
    assert config(tmp_path / "set").hash


def test_an_objective_that_needs_pairs_takes_no_other_data() -> None:
    with pytest.raises(ConfigError, match="needs samples with their own noise; points has none"):
        resolve(parse({"data": "points", "backbone": "mlp", "objective": GIVEN}))

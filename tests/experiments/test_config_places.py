"""Data in files: known by content, refused before anything is written, never remembered as they were."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from experiments.config import Config, ConfigError, parse, resolve
from experiments.runs import Run

pytestmark = pytest.mark.usefixtures("taught")


def config(path: Path, **data: Any) -> Config:
    return resolve(parse({"data": {"name": "filed", "path": str(path), **data}, "backbone": "mlp"}))


def write(path: Path, seed: int = 0) -> Path:
    path.write_text(str(seed))
    return path


def test_data_enter_the_identity_by_content_alone(tmp_path: Path) -> None:
    here = config(write(tmp_path / "here"))
    shutil.copy(tmp_path / "here", tmp_path / "there")
    assert config(tmp_path / "there").hash == here.hash
    assert config(write(tmp_path / "other", 1)).hash != here.hash
    assert set(here.data.identity()["arguments"]) == {"digest"}


def test_a_run_finds_its_data_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "file")
    monkeypatch.chdir(tmp_path)
    run = Run.create(config(Path("file")), Path("runs"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = Run.open(tmp_path / run.path).config
    assert run.path.name.endswith(found.hash)
    assert found.data.options["path"] == str(tmp_path / "file")


def test_what_is_written_holds_the_digest_and_reads_back(tmp_path: Path) -> None:
    found = config(write(tmp_path / "file"))
    written = found.plain()
    assert len(written["data"]["digest"]) == 16
    assert resolve(parse(written)) == found


def test_another_content_at_the_place_of_the_old_one_is_refused(tmp_path: Path) -> None:
    before = config(write(tmp_path / "file"))
    write(tmp_path / "file", 1)
    with pytest.raises(ConfigError, match=r"data: filed: .*is asked for"):
        resolve(parse(before.plain()))
    after = config(tmp_path / "file")
    assert after.hash != before.hash
    assert after.data.options["digest"] != before.data.options["digest"]


def test_a_file_that_is_made_after_it_was_missed_is_found(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        config(tmp_path / "file")
    assert config(write(tmp_path / "file")).hash

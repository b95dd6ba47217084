from __future__ import annotations

from pathlib import Path

import pytest

from experiments import code


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for place in (
        "objectives/a.py",
        "backbones/b.py",
        "datamodules/c.py",
        "experiments/runs.py",
        "experiments/cli/d.py",
    ):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("x = 1\n")
    monkeypatch.setattr(code, "_ROOT", tmp_path)
    return tmp_path


def version() -> str:
    code.version.cache_clear()
    return code.version()


@pytest.fixture(autouse=True)
def _forget() -> object:
    yield
    code.version.cache_clear()


@pytest.mark.parametrize(
    ("place", "counts"),
    [
        ("objectives/a.py", True),
        ("experiments/runs.py", True),
        ("backbones/new.py", True),
        ("experiments/cli/d.py", False),
    ],
)
def test_what_could_change_numbers_changes_the_version(house: Path, place: str, counts: bool) -> None:
    before = version()
    assert version() == before
    (house / place).write_text("x = 2\n")
    assert (version() != before) == counts


def test_only_content_counts(house: Path) -> None:
    before = version()
    file = house / "objectives" / "a.py"
    file.write_text(file.read_text())
    assert version() == before

"""``fewstep grid report`` as it is typed."""

from __future__ import annotations

from typing import Any

import pytest

from experiments.cli.app import start


def test_two_studies_are_compared(study: Any, made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    first = study(made(), made(seed=1), name="old")
    second = study(made(scale=2.0), made(seed=1, scale=3.0), name="new")
    assert start(["grid", "report", str(first), str(second)]) == 0
    told = capsys.readouterr().out
    assert "# old and new" in told
    assert "difference" in told
    assert "Kernel distance" not in told, "all tables but the first are in the file alone"
    assert "Kernel distance" in (second / "report" / "comparison.md").read_text()


def test_baseline_and_rank_are_taken(study: Any, made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = study(made(), made("edm"), made("shortcut"))
    options = ["--baseline", "edm", "--rank", "frechet_distance, recall"]
    assert start(["grid", "report", str(folder), *options]) == 0
    text = (folder / "report" / "report.md").read_text()
    assert "as asked: objective edm" in text
    assert "by Fréchet distance to the training split and Recall," in text


@pytest.mark.parametrize(
    ("options", "told"),
    [(["--baseline", "shortcat"], "did you mean 'shortcut'"), (["--rank", "recal"], "did you mean 'recall'")],
)
def test_what_the_study_does_not_have_is_refused_with_the_nearest(
    study: Any, made: Any, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    folder = study(made(), made("shortcut"))
    assert start(["grid", "report", str(folder), *options]) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not (folder / "report").exists()

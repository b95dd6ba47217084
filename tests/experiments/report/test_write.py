from __future__ import annotations

import csv
import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from scipy import stats

from experiments.errors import UserError
from experiments.report import table, write_report


def test_all_files_and_their_copies(study: Any, made: Any, tmp_path: Path) -> None:
    folder = study(made(), made("shortcut"))
    assert write_report(folder, out=tmp_path / "copy") == folder / "report"
    names = {"cells.csv", "summary.csv", "report.md", "report.tex", "index.html"}
    for where in (folder / "report", tmp_path / "copy"):
        assert {file.name for file in where.iterdir()} == names
    assert (tmp_path / "copy" / "cells.csv").read_text() == (folder / "report" / "cells.csv").read_text()


def test_markdown_has_the_table_with_the_best_in_bold(study: Any, made: Any) -> None:
    folder = study(made(), made("shortcut"), made("edm", state="failed", message="boom"))
    text = (write_report(folder) / "report.md").read_text()
    assert "| shortcut | dit | **19.5** | **16.1** | **15.0** |  |" in text
    assert "| edm | dit | – | – | – | failed |" in text
    assert "* edm-dit-0: failed: boom" in text


@pytest.mark.parametrize("state", ["done", "failed", "pending"])
def test_the_console_table_fits_and_tells_what_is_missing(study: Any, made: Any, state: str) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table(study(made("rf/lognorm(0.00,1.00)", weights=("ema", "raw")), made("shortcut", state=state))))
    text = console.export_text()
    assert "rf/lognorm(0.00,1.00)" in text
    assert "128 steps" in text
    assert (f"shortcut dit: {state}" in text) == (state != "done")


def test_an_empty_grid_has_a_table_too(study: Any) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table(study()))
    assert "The grid has no cells." in console.export_text()


def test_no_study_is_the_users_fault_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        write_report(tmp_path, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_without_torch(study: Any, made: Any, tmp_path: Path) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['report', {str(study(made()))!r}, '--out', {str(tmp_path / 'out')!r}]\n"
        "try: runpy.run_module('experiments.report', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "assert not {'torch', 'lightning'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "index.html").is_file()


def test_the_command_refuses_what_is_no_study(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "experiments.report", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no study" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def three_seeds(study: Any, made: Any) -> Path:
    cells = [
        made(objective, seed=seed, scale=scale + 0.2 * seed + 0.01 * (seed == 1) * (objective != "rf"))
        for objective, scale in (("rf", 1.0), ("edm", 1.5)) for seed in range(3)
    ]  # fmt: skip
    return study(*cells, made("shortcut", seed=0), made("shortcut", seed=1, state="failed"))


def test_markdown_tells_intervals_differences_ranks_and_missing_seeds(study: Any, made: Any) -> None:
    text = (write_report(three_seeds(study, made)) / "report.md").read_text()
    first = text.split("\n## ")[1]
    assert "Mean ± standard deviation over seeds, [95 % interval of the mean]." in first
    assert "| rf | dit | 198 ± 33 [116, 280] |" in first
    assert "| shortcut | dit | **19.5 (1 of 2)** |" in first
    assert "1 of 2 failed (seed 1)" in first
    assert "### Fréchet distance to the training split (ema weights): difference to the baseline" in first
    assert "] \\* |" in first
    assert "after Holm's correction over 3 comparisons. Pairing makes the intervals 0.0" in first
    assert "* baseline: rf dit digits: the first row that changes least of the base" in text
    assert "\n## Global rank\n" in text
    assert "\n## Sampling efficiency: Fréchet distance to the training split (ema weights)\n" in text


def test_the_summary_has_a_line_for_each_number_with_every_statistic(study: Any, made: Any) -> None:
    folder = write_report(three_seeds(study, made))
    table = list(csv.DictReader(io.StringIO((folder / "summary.csv").read_text())))
    of = {(row["objective"], row["metric"], row["steps"]): row for row in table}
    edm = of["edm", "frechet_distance", "1"]
    assert (edm["n"], edm["planned"], edm["pairs"], edm["baseline"]) == ("3", "3", "3", "rf dit digits")
    values = [made("edm", scale=1.5 + 0.2 * seed + 0.01 * (seed == 1)).distance(1) for seed in range(3)]
    low, high = stats.t.interval(0.95, 2, loc=sum(values) / 3, scale=stats.sem(values))
    assert [float(edm[name]) for name in ("mean", "low", "high")] == pytest.approx([sum(values) / 3, low, high])
    assert (edm["significant"], edm["bca_low"], edm["iqm"]) == ("true", "", "")
    short = of["shortcut", "frechet_distance", "1"]
    assert (short["n"], short["planned"], short["missing_seeds"]) == ("1", "2", "1")
    assert (short["p"], short["note"]) == ("", "one seed in common")
    assert of["rf", "validation_loss", ""]["n"] == "3"
    assert ("rf", "validation_loss", "1") not in of


def test_the_baseline_and_the_metrics_of_the_rank_may_be_chosen(study: Any, made: Any) -> None:
    folder = write_report(three_seeds(study, made), baseline=["edm"], ranked=["recall"])
    text = (folder / "report.md").read_text()
    assert "baseline: as asked: objective edm" in text
    assert "non-dominated sorting by Recall," in text
    with pytest.raises(UserError, match="no such row"):
        write_report(three_seeds(lambda *cells: study(*cells, name="again"), made), baseline=["none"])


def test_the_console_stars_what_differs(study: Any, made: Any) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table(three_seeds(study, made)))
    text = console.export_text()
    assert re.search(r"edm +│ dit +│ +\d+ ± \d+ \*", text)
    assert "* differs at 5 % (paired by seed, Holm) from the baseline, rf dit digits" in " ".join(text.split())


@pytest.mark.parametrize("states", [[], ["failed"], ["failed", "failed"], ["pending"]])
def test_without_a_number_every_file_is_written(study: Any, made: Any, states: list[str]) -> None:
    cells = [made(seed=seed, state=state) for seed, state in enumerate(states)]
    folder = write_report(study(*cells))
    assert (folder / "summary.csv").read_text().count("\n") == 1
    assert r"\begin" not in (folder / "report.tex").read_text()
    text = (folder / "report.md").read_text()
    assert ("The grid has no cells." in text) == (not states)
    assert all(f": {state}" in text for state in states)


def test_numbers_that_are_none_are_told_in_every_form(study: Any, made: Any, evaluation_file: Any) -> None:
    folder = study(made(), made(seed=1), made("edm"), made("edm", seed=1))
    file = evaluation_file(folder, made("edm", seed=1))
    value = json.loads(file.read_text())
    for row in value["rows"]:
        row["frechet_distance"] = math.nan
        del row["recall"]
    file.write_text(json.dumps(value))
    report = write_report(folder)
    table = list(csv.DictReader(io.StringIO((report / "summary.csv").read_text())))
    of = {(row["objective"], row["metric"], row["steps"]): row for row in table}
    assert of["edm", "frechet_distance", "1"]["not_finite_seeds"] == "1"
    assert of["edm", "recall", "1"]["missing_seeds"] == "1"
    assert "(1 of 2)" in (report / "report.md").read_text()

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from experiments.errors import UserError
from experiments.report import table, write_report


def test_three_files_and_their_copies(study: Any, made: Any, tmp_path: Path) -> None:
    folder = study(made(), made("shortcut"))
    assert write_report(folder, out=tmp_path / "copy") == folder / "report"
    names = {"cells.csv", "report.md", "index.html"}
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
